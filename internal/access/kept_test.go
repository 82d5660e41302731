package access

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKept: the next supervisor knows by what an identity was proven, and takes its grants when that is gone.
func TestKept(t *testing.T) {
	for name, c := range map[string]struct {
		make func(*stage) Identity
		end  func(*stage)
	}{
		"token": {func(s *stage) Identity { return s.identify(s.request("GET", "/", bearer(secretA)...), View) },
			func(s *stage) { s.write("") }},
		"another token of the name": {func(s *stage) Identity { return s.identify(s.request("GET", "/", bearer(secretA)...), View) },
			func(s *stage) { s.write("ops exec,view " + NewSecret()) }},
		"login": {func(s *stage) Identity {
			login := s.logIn(Identity{Name: "uid 0", Grants: All})
			return s.identify(s.request("GET", "/", bearer(login.Token)...), View)
		}, func(s *stage) { clear(s.tcp.logins) }},
		"certificate": {func(s *stage) Identity {
			return s.identify(withCertificate(s.request("GET", "/"), s.authority.Client("agent", time.Now().Add(time.Hour))), View)
		}, func(s *stage) { s.cfg.Certificates = nil }},
		"listener": {func(s *stage) Identity { return s.identify(s.request("GET", "/", bearer(secretA)...), View) },
			func(s *stage) { s.cfg = Config{} }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, twoTokens)
			id := c.make(s)
			kept, err := json.Marshal(Kept{id})
			if err != nil || strings.Contains(string(kept), secretA) {
				t.Fatalf("%s, %v", kept, err)
			}
			good := s.cfg
			s.Gate = s.newGate()
			s.cfg.Tokens += ".missing"
			missing := s.Configure(s.cfg)
			byToken := id.proof.token != hash{}
			if s.Check(id, View) == nil == byToken {
				t.Error("a token is valid without its file, or something else is not")
			}
			s.cfg.Tokens = filepath.Dir(good.Tokens) // no regular file
			if s.Configure(s.cfg) == nil || missing == nil {
				t.Error("a file is not missed")
			}
			var k Kept
			if err := json.Unmarshal(kept, &k); err != nil {
				t.Fatal(err)
			}
			if k.Name != id.Name || k.Grants != id.Grants || k.Address != id.Address || k.UID != id.UID {
				t.Errorf("%+v, want %+v", k.Identity, id)
			}
			if err := s.Check(k.Identity, View); err != nil {
				t.Errorf("before the files are good: %v", err)
			}
			s.cfg = good
			err = s.Configure(s.cfg)
			if s.kept != nil {
				err = errors.Join(err, s.Restore(s.kept))
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Check(k.Identity, View); err != nil {
				t.Error(err)
			}
			c.end(s)
			if err := s.Configure(s.cfg); err != nil {
				t.Fatal(err)
			}
			if s.Check(k.Identity, View) == nil {
				t.Errorf("%s has its grants for ever", kept)
			}
		})
	}
}

// TestKeptWithoutProof: a process at the unix socket has none.
func TestKeptWithoutProof(t *testing.T) {
	kept, err := json.Marshal(Kept{Identity{Name: "uid 0", Grants: All, Pid: 7}})
	if want := `{"Name":"uid 0","Grants":15,"UID":0,"Pid":7,"Address":""}`; err != nil || string(kept) != want {
		t.Errorf("%s, %v, want %s", kept, err, want)
	}
	var k Kept
	if err := json.Unmarshal(kept, &k); err != nil || k.Identity != (Identity{Name: "uid 0", Grants: All, Pid: 7}) {
		t.Errorf("%+v, %v", k, err)
	}
	for _, damaged := range []string{`{"Proof":{"token":"00"}}`, `{"Proof":{"chain":["AAAA"]}}`, `[]`} {
		if err := json.Unmarshal([]byte(damaged), &k); err == nil {
			t.Errorf("%s is read", damaged)
		}
	}
}
