package wire

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/console"
)

// Subprotocols of the websocket.
const (
	V5     = "v5.channel.k8s.io"
	V4     = "v4.channel.k8s.io"
	Stoker = "stoker.v1"
)

// auditVariable is the variable by which a Kubernetes API server hands on the ID of its audit event.
const auditVariable = "KUBERNETES_EXEC_AUDIT_ID"

// request is what a client asks for.
type request struct {
	spec           console.Spec
	stdout, stderr bool // whether the client wants the stream
}

// dialect is what a kind of request may have in its query.
type dialect int

const (
	ours       dialect = iota // stoker.v1
	post                      // POST /v1/exec
	kubernetes                // PodExecOptions beside ours; what is unknown is refused
	pod                       // PodExecOptions of a path of Kubernetes, whose servers ignore what they do not know
)

// fault is the error for a parameter.
func fault(field, why string) error { return &console.SpecError{Field: field, Why: why} }

// parseQuery reads the query of a request to open a session.
func parseQuery(raw string, d dialect) (request, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return request{}, fault("query", err.Error())
	}
	q := query{values: values}
	req := request{stdout: true, stderr: true}
	s := &req.spec
	s.Command, s.Env = q.list("command"), q.list("env")
	s.Container, s.Context, s.User, s.Dir = q.one("container"), q.one("context"), q.one("user"), q.one("dir")
	s.Rows, s.Columns = q.number("rows"), q.number("columns")
	switch d {
	case ours:
		s.TTY, s.Stdin = q.flag("tty", false), q.flag("stdin", false)
		if text := q.one("keep"); text != "" {
			if err := s.Keep.UnmarshalText([]byte(text)); err != nil {
				q.refuse("keep", err.Error())
			}
		}
	case post:
		q.flag("stdin", true) // the body says whether there is any
		if q.flag("tty", false) {
			q.refuse("tty", "a POST has no terminal: use a websocket")
		}
		req.stdout, req.stderr = q.flag("stdout", true), q.flag("stderr", true)
	default:
		s.TTY, s.Stdin = q.flag("tty", false), q.either("stdin", "input")
		req.stdout, req.stderr = q.either("stdout", "output"), q.either("stderr", "error")
		switch {
		case s.TTY && req.stderr:
			q.refuse("stderr", "a terminal has one output: leave out stderr or tty")
		case !s.Stdin && !req.stdout && !req.stderr:
			q.refuse("stdout", "one of stdin, stdout and stderr must be true")
		}
	}
	takeAuditID(s)
	return req, q.finish(d != pod)
}

// query takes parameters out of a query, and keeps the first fault.
type query struct {
	values url.Values
	err    error
}

// refuse keeps a fault.
func (q *query) refuse(name, why string) {
	if q.err == nil {
		q.err = fault(name, why)
	}
}

// list takes a parameter that may be repeated.
func (q *query) list(name string) []string {
	all := q.values[name]
	delete(q.values, name)
	if slices.ContainsFunc(all, func(s string) bool { return strings.ContainsRune(s, 0) }) {
		q.refuse(name, "it has a NUL character")
	}
	return all
}

// one takes a parameter; absent is empty.
func (q *query) one(name string) string {
	all := q.list(name)
	switch len(all) {
	case 0:
		return ""
	case 1:
		return all[0]
	}
	q.refuse(name, "it is given more than once")
	return ""
}

// flag takes a truth value. Alone it is true, as for Kubernetes.
func (q *query) flag(name string, absent bool) bool {
	if _, ok := q.values[name]; !ok {
		return absent
	}
	switch text := q.one(name); strings.ToLower(text) {
	case "", "true", "1":
		return true
	case "false", "0":
		return false
	default:
		q.refuse(name, strconv.Quote(text)+" is neither true nor false")
		return false
	}
}

// either takes a flag that has an older name.
func (q *query) either(name, old string) bool {
	given, before := q.flag(name, false), q.flag(old, false)
	return given || before
}

// number takes a count of rows or columns; absent is 0.
func (q *query) number(name string) uint16 {
	text := q.one(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		q.refuse(name, strconv.Quote(text)+" is not a number from 0 to 65535")
	}
	return uint16(n)
}

// offset takes a position in a stream; absent is -1.
func (q *query) offset(name string) int64 {
	text := q.one(name)
	if text == "" {
		return -1
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		q.refuse(name, strconv.Quote(text)+" is not an offset")
	}
	return int64(n)
}

// finish returns the first fault. What was not taken is unknown.
func (q *query) finish(strict bool) error {
	delete(q.values, "ticket") // the guard has taken it
	if names := slices.Sorted(maps.Keys(q.values)); q.err == nil && strict && len(names) > 0 {
		return fault(cmp.Or(names[0], "query"), "unknown parameter")
	}
	return q.err
}

// takeAuditID moves the audit ID from the environment into its field.
func takeAuditID(s *console.Spec) {
	s.Env = slices.DeleteFunc(s.Env, func(entry string) bool {
		id, ok := strings.CutPrefix(entry, auditVariable+"=")
		if ok {
			s.AuditID = id
		}
		return ok
	})
}

// parseAttach reads the query of a request to attach to a session.
func parseAttach(raw string) (console.Attach, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return console.Attach{}, fault("query", err.Error())
	}
	q := query{values: values}
	o := console.Attach{From: console.Everything(), Window: window}
	switch mode := q.one("mode"); mode {
	case "", "hold":
		o.Mode = console.Hold
	case "view":
		o.Mode = console.View
	case "take":
		o.Mode = console.Take
	default:
		q.refuse("mode", strconv.Quote(mode)+" is none of hold, view and take")
	}
	o.From[console.Stdout], o.From[console.Stderr] = q.offset("stdout"), q.offset("stderr")
	return o, q.finish(true)
}

// subprotocol returns the first protocol of the client that is among those offered.
func subprotocol(h http.Header, offered ...string) (string, error) {
	for _, line := range h.Values("Sec-Websocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); slices.Contains(offered, name) {
				return name, nil
			}
		}
	}
	return "", fault("Sec-WebSocket-Protocol", "it names none of "+strings.Join(offered, ", "))
}
