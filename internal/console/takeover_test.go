package console

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/access"
)

// saying notes what is audited.
type saying struct{ *stage }

func (s saying) Begin(Entry) error { return nil }
func (s saying) Attached(e Entry) {
	s.say("audit: %s, life %d, %s %v", e.Identity.Name, s.lives, e.Mode, e.Error)
}
func (s saying) End(e Entry) { s.say("audit: end, life %d, %s", s.lives, e.Exit.Why) }

// Tokens in the form of the token file.
var (
	opsToken   = "sha256:" + strings.Repeat("0a", 32)
	laterToken = "sha256:" + strings.Repeat("0b", 32)
	otherToken = "sha256:" + strings.Repeat("0c", 32)
)

// identity is that of a token.
func (s *stage) identity(name, token string) access.Identity {
	var k access.Kept
	err := json.Unmarshal([]byte(`{"Name":"token `+name+`","Grants":8,"Address":"192.0.2.1:7","Proof":{"token":"`+token[len("sha256:"):]+`"}}`), &k)
	s.want(err == nil, "%v", err)
	return k.Identity
}

// writeTokens writes the token file, of names and tokens.
func (s *stage) writeTokens(lines ...string) {
	text := ""
	for pair := range slices.Chunk(lines, 2) {
		text += pair[0] + " exec " + pair[1] + "\n"
	}
	err := os.WriteFile(s.dir+"/tokens", []byte(text), 0o600)
	s.want(err == nil, "%v", err)
}

func (s *stage) readTokens() {
	_ = s.gate.Configure(access.Config{Listen: "127.0.0.1:1", Tokens: s.dir + "/tokens"})
}

func TestTakeOver(t *testing.T) {
	t.Parallel()
	var audited []string
	for _, line := range container(t, "take-over") {
		if text, ok := strings.CutPrefix(line, "audit: "); ok {
			audited = append(audited, text)
		}
	}
	if want := []string{"token other, life 1, view <nil>", "token other, life 2, take <nil>", "token ops, life 2, hold <nil>",
		"token other, life 3, view <nil>", "end, life 3, who opened it is no longer authorised"}; !slices.Equal(audited, want) {
		t.Errorf("audited %q, want %q", audited, want)
	}
}

// playTakeOver has a session go through three supervisors: each audits who attaches, and knows by what its client was proven.
func playTakeOver(s *stage) {
	other := s.identity("other", otherToken)
	attach := func(by access.Identity, mode Mode) {
		sess, err := s.Session(s.Sessions()[0].ID)
		if err == nil {
			var l *Link
			if l, err = sess.Attach(by, Attach{Mode: mode, From: Everything()}); err == nil {
				l.Close()
			}
		}
		s.want(err == nil, "life %d, %s: %v", s.lives, by.Name, err)
	}
	switch s.lives {
	case 1:
		s.writeTokens("ops", opsToken, "other", otherToken)
		s.readTokens()
		spec := s.sh("exec sleep 1000")
		spec.Keep = Duration(time.Minute)
		_, err := s.Open(context.Background(), spec, s.identity("ops", opsToken))
		s.want(err == nil, "%v", err)
		attach(other, View) // before the client that opened it
		attach(s.identity("ops", opsToken), Hold)
		die()
	case 2:
		attach(other, Take)
		attach(s.identity("ops", laterToken), Hold) // it comes with its next token
		s.writeTokens("ops", laterToken, "other", otherToken)
		die()
	default:
		sess, err := s.Session(s.Sessions()[0].ID)
		s.want(err == nil, "%v", err)
		attach(other, View)
		sess.mu.Lock()
		opener := sess.saved.Identity.Identity
		sess.mu.Unlock()
		s.want(s.gate.Check(opener, access.Exec) == nil, "the next token of who opened it is not kept")
		s.writeTokens("other", otherToken)
		s.readTokens()
		s.exit(sess)
		s.say("end")
	}
}
