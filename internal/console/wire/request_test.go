package wire

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/console"
)

func TestQueries(t *testing.T) {
	ls := []string{"ls", "-l"}
	for _, c := range []struct {
		query   string
		dialect dialect
		want    request
	}{
		{"command=ls&command=-l&container=app&stderr=true&stdout=true", pod,
			request{console.Spec{Command: ls, Container: "app"}, true, true}},
		{"command=ls&command=-l&stdin=1&stdout&tty=TRUE&timeout=32s", pod,
			request{console.Spec{Command: ls, Stdin: true, TTY: true}, true, false}},
		{"command=ls&command=-l&input=1&output=1&error=1", kubernetes, request{console.Spec{Command: ls, Stdin: true}, true, true}},
		{"command=a+b%26&command=&stdout=true&stdin=0&env=A%3Db+c&env=KUBERNETES_EXEC_AUDIT_ID%3D42", pod,
			request{console.Spec{Command: []string{"a b&", ""}, Env: []string{"A=b c"}, AuditID: "42"}, true, false}},
		{"command=ls&command=-l&context=tomcat&user=app&dir=%2Ftmp&rows=24&columns=80&tty=true&stdin=true&keep=90s&ticket=x", ours,
			request{console.Spec{Command: ls, Context: "tomcat", User: "app", Dir: "/tmp", Rows: 24, Columns: 80, TTY: true, Stdin: true,
				Keep: console.Duration(90 * time.Second)}, true, true}},
		{"command=ls&command=-l&stderr=false&stdin=true", post, request{console.Spec{Command: ls}, true, false}},
	} {
		got, err := parseQuery(c.query, c.dialect)
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", c.want) {
			t.Errorf("%s: %+v, %v", c.query, got, err)
		}
	}
}

func TestSubprotocols(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{[]string{V5}, V5},
		{[]string{"v3.channel.k8s.io, " + V4 + "," + V5}, V4},
		{[]string{"base64url.bearer.authorization.k8s.io.dG9r", Stoker}, Stoker},
		{[]string{"V5.channel.k8s.io", ""}, ""},
		{nil, ""},
	} {
		got, err := subprotocol(http.Header{"Sec-Websocket-Protocol": c.lines}, V5, V4, Stoker)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v", c.lines, got, err)
		}
	}
}

func FuzzQueries(f *testing.F) {
	for _, q := range []string{"command=ls&stdout=true", "command=a%00&tty=1", "stdin&stdin", "env=KUBERNETES_EXEC_AUDIT_ID%3D1&rows=70000",
		"keep=1h&mode=take&stdout=-1", "%zz;&", "context=a&context=b", "="} {
		f.Add(q, uint8(0))
	}
	f.Fuzz(func(t *testing.T, q string, d uint8) {
		req, err := parseQuery(q, dialect(d%4))
		var fault *console.SpecError
		if err != nil {
			if !errors.As(err, &fault) || fault.Field == "" || fault.Why == "" {
				t.Errorf("%q: %v names nothing", q, err)
			}
			return
		}
		values, _ := url.ParseQuery(q)
		if !slices.Equal(req.spec.Command, values["command"]) || req.spec.Keep < 0 {
			t.Errorf("%q: %+v", q, req)
		}
		if d := dialect(d % 4); d >= kubernetes && (req.spec.TTY && req.stderr || !req.spec.Stdin && !req.stdout && !req.stderr) {
			t.Errorf("%q: streams %+v", q, req)
		}
		for _, entry := range req.spec.Env {
			if strings.HasPrefix(entry, auditVariable+"=") {
				t.Errorf("%q: %q", q, entry)
			}
		}
		if a, err := parseAttach(q); err == nil && (a.From[1] < -1 || a.From[2] < -1 || a.Mode > console.Take) {
			t.Errorf("%q: %+v", q, a)
		}
	})
}

func FuzzSizes(f *testing.F) {
	for _, s := range []string{"", `{"Width":80,"Height":24}` + "\n", `{"Width":1}{"Height":2}`, `{"Width":-1}`, `{"Width":65536}`, "null", "[]", `{"Width":1e2}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rows, columns, err := decodeSizes(strings.NewReader(s))
		var closing *closeError
		if err != nil && (!errors.As(err, &closing) || closing.code != 1008 || rows != 0 || columns != 0) {
			t.Errorf("%q: %d %d %v", s, rows, columns, err)
		}
	})
}
