package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// problemsOf is what Load would report of values, without their files.
func problemsOf(cfg Config) (problems, warnings layeredyaml.Problems) {
	l := layeredyaml.New(schema)
	validate(cfg, WithDefaults(cfg), l.Checker(), nil)
	return l.Problems(), l.Warnings()
}

// fill sets every field below v to a value that is not zero; n makes them differ.
func fill(t *testing.T, v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		elem := reflect.New(v.Type().Elem()).Elem()
		fill(t, elem, n)
		v.SetMapIndex(reflect.ValueOf(fmt.Sprint("k", *n)), elem)
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0), n)
		fill(t, v.Index(1), n)
	case reflect.String:
		v.SetString(fmt.Sprint("text", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.25)
	default:
		t.Fatalf("the loader does not know a field of type %s", v.Type())
	}
}

func TestConfigSurvivesJSON(t *testing.T) {
	var want, got Config
	n := 0
	fill(t, reflect.ValueOf(&want).Elem(), &n)
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestSchemaIsLoadable shows every field of the schema and reads it back.
func TestSchemaIsLoadable(t *testing.T) {
	var want, got Config
	n := 0
	fill(t, reflect.ValueOf(&want).Elem(), &n)
	var b strings.Builder
	if err := (&Loaded{Config: want}).Show(&b, true); err != nil {
		t.Fatal(err)
	}
	l := layeredyaml.New(schema)
	l.Bytes("shown", []byte(b.String()))
	if problems := l.Problems(); len(problems) > 0 {
		t.Fatalf("%v\n%s", problems, b.String())
	}
	l.Decode(&got)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestEveryCheckIsKnown checks every field: a misspelt tag panics.
func TestEveryCheckIsKnown(t *testing.T) {
	var c Config
	n := 0
	fill(t, reflect.ValueOf(&c).Elem(), &n)
	if problems, _ := problemsOf(c); len(problems) == 0 {
		t.Error("a configuration of numbers and words is right")
	}
}

func TestWithDefaultsLeavesItsInput(t *testing.T) {
	in := Config{Services: map[string]Service{"a": {Kind: KindTomcat}, "b": {}, "c": {Kind: KindJava}}}
	out := WithDefaults(in)
	if !reflect.DeepEqual(in.Services["b"], Service{}) {
		t.Errorf("the input was changed: %+v", in.Services["b"])
	}
	if out.Main != "a" || out.Services["b"].Kind != KindProcess || !reflect.DeepEqual(out.Services["c"].SuccessCodes, []int{0, 143}) {
		t.Errorf("got %+v", out)
	}
	if out.Services["b"].Restart.Limit.UncountedCodes != nil || !reflect.DeepEqual(out.Services["a"].Restart.Limit.UncountedCodes, []int{3}) {
		t.Errorf("got %+v", out)
	}
	if *out.Services["b"].Stop.ThreadDump || !*out.Services["a"].Stop.ThreadDump || *out.Services["b"].Autostart != true {
		t.Errorf("got %+v", out)
	}
	if again := WithDefaults(out); !reflect.DeepEqual(again, out) {
		t.Errorf("defaults of defaults differ: %+v", again)
	}
}

func TestValidate(t *testing.T) {
	good := Config{Services: map[string]Service{"a": {}}}
	s := good.Services["a"]
	s.Command = []string{"x"}
	good.Services["a"] = s
	if problems, warnings := problemsOf(good); len(problems)+len(warnings) > 0 {
		t.Errorf("got %v, %v", problems, warnings)
	}
	s.Command, s.Umask = nil, "9"
	s.Stop.Timeout = 8*time.Second + 1
	problems, warnings := problemsOf(Config{Main: "b", Services: map[string]Service{"a": s}})
	if len(problems) != 3 || len(warnings) != 1 {
		t.Errorf("got %v, %v", problems, warnings)
	}
}
