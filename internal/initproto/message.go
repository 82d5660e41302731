// Package initproto is the protocol between the init and the supervisor: the
// messages with their encoding, the socket that carries them, and the format of
// the stop plan. It keeps no state; internal/pid1 and internal/proc act on the
// messages.
package initproto

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"

	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// Version is the protocol version of this binary. Each side ignores messages and fields
// that it does not know. 2 added Upgrade.
const Version = 2

// SocketFD is the supervisor's end of the connection.
const SocketFD = 3

// MaxBlob is the largest blob of an item in the fd store, in bytes. With its header it fits
// the kernel's default socket buffer (212992 bytes) three times.
const MaxBlob = 64 << 10

// Message types, with their sender.
const (
	Hello   = "HELLO"   // supervisor: first message
	Put     = "PUT"     // supervisor: keep an item; init: replay of an item, byte for byte
	Del     = "DEL"     // supervisor: forget an item
	Ack     = "ACK"     // supervisor: what follows from the events up to Seq is in the fd store
	Ping    = "PING"    // supervisor: alive; the first one also means that it has adopted everything
	Sync    = "SYNC"    // supervisor: answer with Synced after the exit of every zombie, and stop draining the log pipes
	Upgrade = "UPGRADE" // supervisor: start the next supervisor from this binary
	Final   = "FINAL"   // supervisor: end the container with Code
	Welcome = "WELCOME" // init: answer to Hello
	Lost    = "LOST"    // init: output discarded while no supervisor read it
	Exited  = "EXITED"  // init: children that exited
	Signal  = "SIGNAL"  // init: a signal that reached the container
	Ready   = "READY"   // init: the replay is complete
	Synced  = "SYNCED"  // init: answer to Sync
	Check   = "CHECK"   // init: answer with a Ping, or be killed
)

// Msg is a message: a JSON header, a newline and, for Put, the blob. The type determines
// which fields are set.
type Msg struct {
	Type      string     `json:"t"`
	Version   int        `json:"v,omitempty"`          // Hello, Welcome
	Name      string     `json:"name,omitempty"`       // Put, Del, Lost: of the item
	Pid       int        `json:"pid,omitempty"`        // Put: the item follows this child; Welcome: the init
	Intent    bool       `json:"intent,omitempty"`     // Put: a child is about to be started, whose pid follows
	Pipes     []int      `json:"pipes,omitempty"`      // Put: indexes in Fds of log pipes, to be drained while no supervisor reads them
	Seq       uint64     `json:"seq,omitempty"`        // Ack, Signal, Synced: event number
	Signal    int        `json:"sig,omitempty"`        // Signal
	Count     int        `json:"n,omitempty"`          // Signal: equal signals merged into this one
	Stops     int        `json:"stops,omitempty"`      // Welcome, Signal, Ready: stop requests so far
	Starts    int        `json:"starts,omitempty"`     // Welcome: supervisors started so far
	MaxFds    int        `json:"max_fds,omitempty"`    // Welcome: descriptors that fit into the fd store
	Code      int        `json:"code,omitempty"`       // Final: the container's exit code
	Grace     int64      `json:"grace,omitempty"`      // Final: ns between TERM and KILL of what is left
	Bytes     uint64     `json:"bytes,omitempty"`      // Lost
	Lines     uint64     `json:"lines,omitempty"`      // Lost
	PipeBytes *PipeBytes `json:"pipe_bytes,omitempty"` // Lost: Bytes of each pipe
	Orphans   uint64     `json:"orphans,omitempty"`    // Exited, Welcome: orphans reaped so far
	Exits     []Exit     `json:"exits,omitempty"`      // Exited
	Binary    *Binary    `json:"bin,omitempty"`        // Upgrade: for the next supervisors; Welcome: of this supervisor

	Body   []byte `json:"-"` // Put: the blob
	Fds    []int  `json:"-"` // Put, Upgrade: descriptors, close-on-exec
	FdsCut bool   `json:"-"` // descriptors were sent and not received: this process has too many
}

// PipeBytes are the bytes of an item's first and second pipe.
type PipeBytes [2]uint64

// Binary is an executable that supervisors are started from.
type Binary struct {
	Version string `json:"version,omitempty"` // of stoker
	Path    string `json:"path,omitempty"`    // Welcome: empty for the init's own
	By      string `json:"by,omitempty"`      // Upgrade: the user who requested it
	Init    string `json:"init,omitempty"`    // Welcome: the version of the init
	Count   int    `json:"n,omitempty"`       // Welcome: upgrades so far
	Failed  string `json:"failed,omitempty"`  // Welcome: the version whose upgrade was reverted last
	Why     string `json:"why,omitempty"`     // Welcome: the reason
}

// Exit is the exit of a child of the init.
type Exit struct {
	Seq    uint64 `json:"seq"`
	Pid    int    `json:"pid"`
	Status uint32 `json:"st"`            // of wait4(2)
	At     int64  `json:"at"`            // CLOCK_BOOTTIME, ns
	CPU    int64  `json:"cpu,omitempty"` // user and system time, ns
	RSS    int64  `json:"rss,omitempty"` // largest resident set, bytes
	// Stat is the zombie's /proc/PID/stat. It is filled in only while there is an intent: a
	// supervisor then has to find out whether the child is the one it meant to start.
	Stat *procfs.Stat `json:"stat,omitempty"`
}

// WaitStatus is the status in the form of package syscall.
func (e Exit) WaitStatus() syscall.WaitStatus { return syscall.WaitStatus(e.Status) }

// Encode returns the packet of m.
func Encode(m *Msg) ([]byte, error) {
	if len(m.Body) > MaxBlob {
		return nil, fmt.Errorf("cannot keep %q: %d bytes are more than the fd store's %d", m.Name, len(m.Body), MaxBlob)
	}
	head, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return append(append(head, '\n'), m.Body...), nil
}

// Decode parses a packet. The blob is a copy.
func Decode(p []byte) (*Msg, error) {
	head, body, ok := bytes.Cut(p, []byte{'\n'})
	if !ok {
		return nil, errors.New("a message without an end of its header")
	}
	m := new(Msg)
	if err := json.Unmarshal(head, m); err != nil {
		return nil, err
	}
	if len(body) > 0 {
		m.Body = bytes.Clone(body)
	}
	return m, nil
}

// BootNow is CLOCK_BOOTTIME in nanoseconds, the clock of every time in a message and in the
// fd store: it is not set like the wall clock and goes on while the machine sleeps.
func BootNow() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return ts.Nano()
}
