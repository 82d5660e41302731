package access

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// TestKeptIdentity checks that the next supervisor can check an identity again.
func TestKeptIdentity(t *testing.T) {
	for _, id := range []Identity{
		{Name: "uid 0", Grants: All, UID: 0, Pid: 7},
		{Name: "token ops", Grants: View | Exec, UID: -1, Pid: -1, Address: "127.0.0.1:1", proof: &proof{token: hash{1, 2}}},
		{Name: "token ops", Grants: View, UID: -1, Pid: -1, proof: &proof{token: hash{1}, login: hash{3}}},
	} {
		text, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		var got Identity
		if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, id) {
			t.Errorf("%s became %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{`{"Token":"x"}`, `{"Login":"00"}`, `{"Chain":["AAAA"]}`} {
		if err := json.Unmarshal([]byte(bad), new(Identity)); err == nil || !strings.Contains(err.Error(), "cannot read the credential") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestCheckBeforeConfigure checks that sessions of the supervisor before live until the files are read, and are checked then.
func TestCheckBeforeConfigure(t *testing.T) {
	g := &Gate{}
	id := Identity{Name: "token ops", Grants: View | Exec, proof: &proof{token: hash{1}}}
	changed := g.Changed()
	if err := g.Check(id, Exec); err != nil {
		t.Errorf("before: %v", err)
	}
	if err := g.Configure(Config{}); err != nil {
		t.Fatal(err)
	}
	<-changed
	if err := g.Check(id, Exec); err == nil {
		t.Error("after: no error")
	}
}
