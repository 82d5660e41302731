package console

import "time"

// Info is a session as it is at a moment. User is the name of the user that it runs as.
type Info struct {
	ID string `json:"id"`
	Spec
	By      string    `json:"by"`                // the name of the identity that opened it
	Address string    `json:"address,omitempty"` // of that; empty: the unix socket
	UID     int       `json:"uid"`               // of that; -1: unknown
	Started time.Time `json:"started"`
	Pid     int       `json:"pid"`
	User    string    `json:"user"`
	Holder  string    `json:"holder,omitempty"` // the name of the identity that has the keyboard; empty: none
	Viewers int       `json:"viewers"`
	// DetachedSince is since when there has been no client; nil: there is one.
	DetachedSince *time.Time `json:"detached_since,omitempty"`
	StdinBytes    int64      `json:"stdin_bytes"`  // taken by the process
	StdoutBytes   int64      `json:"stdout_bytes"` // of a terminal: all its output
	StderrBytes   int64      `json:"stderr_bytes"`
	Recording     string     `json:"recording,omitempty"` // its name; empty: none
	Exit          *Exit      `json:"exit,omitempty"`      // nil: it runs
	Ended         *time.Time `json:"ended,omitempty"`
}

// Exit is how a session ended.
type Exit struct {
	Code   int    `json:"code"`             // 128+n after a signal
	Signal string `json:"signal,omitempty"` // "KILL"; empty: it exited
	OOM    bool   `json:"oom,omitempty"`
	// Why is what ended it beside its own process, "idle for 15m0s"; empty: nothing.
	Why string `json:"why,omitempty"`
}
