package executor

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"
)

func TestParseSpec(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []FieldError // nil: it cannot be read at all
	}{
		{`{"comand":["a"],"retry":{"maxx":1},"nice":"x","key":"x"}`, []FieldError{{"comand", "there is no such field"},
			{"nice", "it cannot be a JSON string"}, {"retry.maxx", "there is no such field"}}},
		{`{"timeout":5,"start_within":"1y"}`, []FieldError{{"start_within", `"1y" is not a duration such as 90s or 1h30m`},
			{"timeout", "it cannot be a JSON number"}}},
		{`{"retry":{"backoff":1}}`, []FieldError{{"retry.backoff", "it cannot be a JSON number"}}},
		{`{"key":1,"key":"a"}`, nil}, {`{} {}`, nil}, {`{`, nil}, {`[]`, nil}, {``, nil},
	} {
		_, err := ParseSpec([]byte(tc.text))
		var spec *SpecError
		if err == nil || errors.As(err, &spec) != (tc.want != nil) || spec != nil && !reflect.DeepEqual(spec.Fields, tc.want) {
			t.Errorf("%s: %v, want %v", tc.text, err, tc.want)
		}
	}
}

// FuzzParseSpec: what is read is written and read again as the same.
func FuzzParseSpec(f *testing.F) {
	nice := 5
	whole, err := json.Marshal(Spec{Key: "k", Command: []string{"a"}, Stdin: []byte{0xff}, Timeout: Duration(time.Minute),
		NotBefore: time.Unix(1, 5).UTC(), Attributes: Attributes{Nice: &nice}, Retry: Retry{On: []string{"any"}}})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(whole), `{"command":null}`, `{"a":1}`, `{"nice":"x"}`, `{}{}`, `{"command":["a"],"command":["b"]}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		spec, err := ParseSpec([]byte(text))
		if wrong := new(SpecError); errors.As(err, &wrong) && len(wrong.Fields) == 0 {
			t.Errorf("%q: no field is named", text)
		}
		if err != nil {
			return
		}
		first, err := json.Marshal(spec)
		if err != nil {
			t.Skip() // a time outside of what JSON can write
		}
		again, err := ParseSpec(first)
		second, _ := json.Marshal(again)
		if err != nil || string(first) != string(second) {
			t.Errorf("%q: %v\n%s\n%s", text, err, first, second)
		}
	})
}
