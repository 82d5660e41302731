// Package mesostest has a Mesos agent for tests, as one executor sees it. It refuses what a real agent refuses.
package mesostest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/freeport"
)

// Status is an update that the agent has accepted.
type Status struct {
	Task struct {
		Value string `json:"value"`
	} `json:"task_id"`
	State    string `json:"state"`
	Source   string `json:"source"`
	UUID     []byte `json:"uuid"`
	Executor struct {
		Value string `json:"value"`
	} `json:"executor_id"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
	Data    []byte `json:"data"`
}

// Call is a request of the executor.
type Call struct {
	Type     string `json:"type"`
	Executor struct {
		Value string `json:"value"`
	} `json:"executor_id"`
	Framework struct {
		Value string `json:"value"`
	} `json:"framework_id"`
	Subscribe *struct {
		Tasks []struct {
			Name string `json:"name"`
			ID   struct {
				Value string `json:"value"`
			} `json:"task_id"`
			Agent struct {
				Value string `json:"value"`
			} `json:"agent_id"`
		} `json:"unacknowledged_tasks"`
		Updates []struct {
			Status Status `json:"status"`
		} `json:"unacknowledged_updates"`
	} `json:"subscribe"`
	Update *struct {
		Status Status `json:"status"`
	} `json:"update"`
	Message *struct {
		Data []byte `json:"data"`
	} `json:"message"`
}

// Task is what the agent knows of a task.
type Task struct {
	State    string   // of the latest update; TASK_STAGING: there is none
	States   []string // of all updates, without those that came twice
	Dropped  bool     // the executor has subscribed without it
	Messages []string
}

// Terminal reports whether a task has ended.
func (t Task) Terminal() bool {
	return !slices.Contains([]string{"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"}, t.State)
}

// Options are what an agent is.
type Options struct {
	Framework, Executor, Token string
	Capabilities               []string
	// Pieces is the size of the parts in which events are sent; 0: whole.
	Pieces int
	// InMemory means that it is reached with Dial only.
	InMemory bool
}

// Agent is an agent. All methods may be called at any time.
type Agent struct {
	o        Options
	server   *http.Server
	listener net.Listener
	address  string
	port     int
	reserved io.Closer // keeps the port while the agent is stopped, until the garbage collector takes the agent; nil: it is in memory

	mu      sync.Mutex
	changed chan struct{}    // closed and replaced with each change
	refuse  int              // the code of all answers; 0: none is refused
	muted   bool             // nothing is acknowledged
	stream  chan []byte      // of the subscribed executor; nil: there is none
	over    chan struct{}    // closed to end that stream
	calls   []Call           // all that were accepted
	refused []string         // why others were not
	updates []Status         // in order, those that came twice too
	seen    map[string]bool  // UUIDs
	tasks   map[string]*Task // by ID
	ending  bool             // the executor is to end, whenever it subscribes
	cut     int              // bytes of the streams after which one is broken off; 0: none

}

// New starts an agent on a loopback port.
func New(o Options) (*Agent, error) {
	a := &Agent{o: o, address: "127.0.0.1:0", changed: make(chan struct{}), seen: map[string]bool{}, tasks: map[string]*Task{}}
	if !o.InMemory {
		port, reserved, err := freeport.Reserve()
		if err != nil {
			return nil, err
		}
		a.address, a.port, a.reserved = fmt.Sprintf("127.0.0.1:%d", port), port, reserved
	}
	return a, a.Start()
}

// Start starts an agent that was stopped, at its earlier address.
func (a *Agent) Start() error {
	var l net.Listener = newPipes()
	if !a.o.InMemory {
		err := freeport.Await(a.port)
		if err == nil {
			l, err = net.Listen("tcp", a.address)
		}
		if err != nil {
			return fmt.Errorf("cannot listen: %w", err)
		}
	}
	server := &http.Server{Handler: a, ReadHeaderTimeout: time.Minute}
	a.change(func() { a.address, a.listener, a.server = l.Addr().String(), l, server })
	go func() { _ = server.Serve(l) }() // ends with Stop
	return nil
}

// Stop ends the agent's process. What it knows of tasks is on its disk.
func (a *Agent) Stop() {
	_ = a.server.Close()
	a.Break()
}

// Environment is what an executor of the agent finds.
func (a *Agent) Environment() []string {
	return []string{"MESOS_FRAMEWORK_ID=" + a.o.Framework, "MESOS_EXECUTOR_ID=" + a.o.Executor, "MESOS_DIRECTORY=/sandbox/runs/1",
		"MESOS_SANDBOX=/mnt/mesos/sandbox", "MESOS_SLAVE_ID=S1", "MESOS_SLAVE_PID=slave(1)@" + a.address, "MESOS_AGENT_ENDPOINT=" + a.address,
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=5secs", "MESOS_EXECUTOR_AUTHENTICATION_TOKEN=" + a.o.Token}
}

// Checkpointing is what is added to the environment if the framework asks for checkpoints.
func Checkpointing(recovery, backoff string) []string {
	return []string{"MESOS_CHECKPOINT=1", "MESOS_RECOVERY_TIMEOUT=" + recovery, "MESOS_SUBSCRIPTION_BACKOFF_MAX=" + backoff}
}

// change changes the agent, and wakes those that wait in Await.
func (a *Agent) change(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	close(a.changed)
	a.changed = make(chan struct{})
}

// Await waits until a condition holds, and reports whether it does.
func (a *Agent) Await(within time.Duration, condition func() bool) bool {
	for over := time.After(within); ; {
		a.mu.Lock()
		changed := a.changed
		a.mu.Unlock()
		if condition() {
			return true
		}
		select {
		case <-changed:
		case <-time.After(100 * time.Millisecond): // it may depend on something else
		case <-over:
			return condition()
		}
	}
}

// Refuse makes the agent answer all calls with a code: 503 while it recovers, 404 before; 0: as usual.
func (a *Agent) Refuse(code int) { a.change(func() { a.refuse = code }) }

// Mute makes the agent lose its acknowledgements, or not.
func (a *Agent) Mute(on bool) { a.change(func() { a.muted = on }) }

// Terminating makes the agent answer a subscription with SHUTDOWN alone.
func (a *Agent) Terminating() { a.change(func() { a.ending = true }) }

// CutAfter breaks the next stream off after so many bytes.
func (a *Agent) CutAfter(bytes int) { a.change(func() { a.cut = bytes }) }

// Break breaks the stream.
func (a *Agent) Break() {
	a.change(func() {
		if a.stream != nil {
			close(a.over)
			a.stream, a.over = nil, nil
		}
	})
}

// Subscribed reports whether an executor is subscribed.
func (a *Agent) Subscribed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stream != nil
}

// Calls returns the calls of a type that were accepted.
func (a *Agent) Calls(kind string) (out []Call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.calls {
		if c.Type == kind {
			out = append(out, c)
		}
	}
	return out
}

// Refused returns why calls were refused.
func (a *Agent) Refused() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.refused)
}

// Updates returns the accepted updates, in order, also those that came twice.
func (a *Agent) Updates() []Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.updates)
}

// Task returns what is known of a task.
func (a *Agent) Task(id string) Task {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.tasks[id]; t != nil {
		return Task{t.State, slices.Clone(t.States), t.Dropped, slices.Clone(t.Messages)}
	}
	return Task{}
}

// Send sends an event. It is lost if no executor is subscribed.
func (a *Agent) Send(event any) {
	text, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	a.SendRaw(Record(text))
}

// SendRaw sends bytes on the stream.
func (a *Agent) SendRaw(text []byte) { a.change(func() { a.push(text) }) }

// push queues bytes for the stream. mu is held.
func (a *Agent) push(text []byte) {
	if a.stream != nil {
		a.stream <- text
	}
}

// Record frames an event.
func Record(text []byte) []byte { return append(fmt.Appendf(nil, "%d\n", len(text)), text...) }

// object is a JSON object.
type object = map[string]any

// id is an ID of Mesos.
func id(value string) object { return object{"value": value} }

// TaskInfo is a task with further fields.
func TaskInfo(name string, fields object) object {
	t := object{"name": name, "task_id": id(name), "agent_id": id("S1"), "resources": []object{}}
	for field, value := range fields {
		t[field] = value
	}
	return t
}

// Shell is a task that runs a script.
func Shell(name, script string, fields object) object {
	t := TaskInfo(name, fields)
	t["command"] = object{"shell": true, "value": script}
	return t
}

// Launch sends tasks, as a group if there are several.
func (a *Agent) Launch(tasks ...object) {
	a.change(func() {
		for _, t := range tasks {
			name, _ := t["task_id"].(object)["value"].(string)
			if a.tasks[name] == nil {
				a.tasks[name] = &Task{State: "TASK_STAGING"}
			}
		}
	})
	if len(tasks) == 1 {
		a.Send(object{"type": "LAUNCH", "launch": object{"task": tasks[0]}})
	} else {
		a.Send(object{"type": "LAUNCH_GROUP", "launch_group": object{"task_group": object{"tasks": tasks}}})
	}
}

// Kill kills a task; a negative grace is none.
func (a *Agent) Kill(task string, grace time.Duration) {
	kill := object{"task_id": id(task)}
	if grace >= 0 {
		kill["kill_policy"] = object{"grace_period": object{"nanoseconds": grace.Nanoseconds()}}
	}
	a.Send(object{"type": "KILL", "kill": kill})
}

// Shutdown shuts the executor down.
func (a *Agent) Shutdown() { a.Send(object{"type": "SHUTDOWN"}) }

// errRefused is a call that is refused.
type refusal struct {
	code int
	why  string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d: %s", r.code, r.why) }

// ServeHTTP is the executor API.
func (a *Agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call, err := a.read(r)
	var stream chan []byte
	var over chan struct{}
	if err == nil {
		a.change(func() {
			switch call.Type {
			case "SUBSCRIBE":
				stream, over, err = a.subscribe(&call)
			case "UPDATE":
				err = a.update(&call)
			case "MESSAGE", "HEARTBEAT":
				if a.stream == nil {
					err = &refusal{http.StatusForbidden, "Executor is not subscribed"}
				}
			default:
				err = &refusal{http.StatusBadRequest, "unknown call"}
			}
			if err == nil {
				a.calls = append(a.calls, call)
			}
		})
	}
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		a.change(func() { a.refused = append(a.refused, call.Type+" "+refused.Error()) })
		http.Error(w, refused.why, refused.code)
	case stream != nil:
		a.serve(w, r, stream, over)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}
