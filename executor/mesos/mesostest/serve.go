package mesostest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// read reads a call, and refuses it as the agent's http.cpp and validation.cpp do.
func (a *Agent) read(r *http.Request) (call Call, err error) {
	a.mu.Lock()
	refuse := a.refuse
	a.mu.Unlock()
	kind := r.Header.Values("Content-Type")
	switch {
	case refuse != 0:
		return call, &refusal{refuse, "Agent has not finished recovery"}
	case r.URL.Path != "/slave(1)/api/v1/executor" && r.URL.Path != "/api/v1/executor":
		return call, &refusal{http.StatusNotFound, "no such path: " + r.URL.Path}
	case r.Method != http.MethodPost:
		return call, &refusal{http.StatusMethodNotAllowed, "Expecting POST"}
	case a.o.Token != "" && r.Header.Get("Authorization") != "Bearer "+a.o.Token:
		return call, &refusal{http.StatusUnauthorized, "no valid token"}
	case len(kind) == 0:
		return call, &refusal{http.StatusBadRequest, "Expecting 'Content-Type' to be present"}
	case kind[0] != "application/json":
		return call, &refusal{http.StatusUnsupportedMediaType, "Expecting 'Content-Type' of application/json"}
	case !strings.Contains(r.Header.Get("Accept"), "application/json"):
		return call, &refusal{http.StatusNotAcceptable, "Expecting 'Accept' to allow application/json"}
	}
	text, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(text, &call)
	}
	switch {
	case err != nil:
		return call, &refusal{http.StatusBadRequest, "Failed to parse body into JSON: " + err.Error()}
	case call.Type == "HEARTBEAT":
	case call.Framework.Value != a.o.Framework:
		return call, &refusal{http.StatusBadRequest, "Framework cannot be found"}
	case call.Executor.Value != a.o.Executor:
		return call, &refusal{http.StatusBadRequest, "Executor cannot be found"}
	}
	return call, nil
}

// subscribe takes an executor. mu is held.
func (a *Agent) subscribe(call *Call) (chan []byte, chan struct{}, error) {
	if call.Subscribe == nil {
		return nil, nil, &refusal{http.StatusBadRequest, "Expecting 'subscribe' to be present"}
	}
	for _, u := range call.Subscribe.Updates {
		if err := a.validate(&u.Status); err != nil {
			return nil, nil, err
		}
	}
	known := map[string]bool{}
	for _, t := range call.Subscribe.Tasks {
		if t.Name == "" || t.ID.Value == "" || t.Agent.Value == "" {
			return nil, nil, &refusal{http.StatusBadRequest, "Missing required fields of a TaskInfo"}
		}
		known[t.ID.Value] = true
	}
	if a.stream != nil { // "Closing already existing HTTP connection"
		close(a.over)
	}
	const queue = 100000
	a.stream, a.over = make(chan []byte, queue), make(chan struct{})
	for _, u := range call.Subscribe.Updates {
		a.accept(u.Status)
	}
	for name, t := range a.tasks {
		if t.State == "TASK_STAGING" && !known[name] {
			t.State, t.Dropped = "TASK_DROPPED", true // "Task launched during agent restart"
		}
	}
	capabilities := []object{}
	for _, c := range a.o.Capabilities {
		capabilities = append(capabilities, object{"type": c})
	}
	text, err := json.Marshal(object{"type": "SUBSCRIBED", "subscribed": object{
		"executor_info": object{"executor_id": id(a.o.Executor)}, "agent_info": object{"hostname": "h"}, "container_id": id("c"),
		"framework_info": object{"name": "f", "user": "root", "capabilities": capabilities}}})
	if err != nil {
		panic(err)
	}
	// SUBSCRIBED comes first: acknowledgements are sent by another actor of the agent, later.
	if a.ending {
		text = []byte(`{"type":"SHUTDOWN"}`)
	}
	waiting := a.stream
	a.stream = make(chan []byte, queue)
	a.stream <- Record(text)
	for len(waiting) > 0 {
		a.stream <- <-waiting
	}
	return a.stream, a.over, nil
}

// validate refuses an invalid update.
func (a *Agent) validate(s *Status) error {
	const size = 16
	why := ""
	switch {
	case len(s.UUID) != size:
		why = "Expecting 'uuid' of 16 bytes"
	case s.Source != "SOURCE_EXECUTOR":
		why = "Received Call from executor with invalid source"
	case s.State == "TASK_STAGING" || s.State == "":
		why = "Received TASK_STAGING from executor, which is not allowed"
	case s.Executor.Value != a.o.Executor:
		why = "ExecutorID in Call does not match that of the status"
	default:
		return nil
	}
	return &refusal{http.StatusBadRequest, why}
}

// update takes an update. mu is held.
func (a *Agent) update(call *Call) error {
	if a.stream == nil {
		return &refusal{http.StatusForbidden, "Executor is not subscribed"}
	}
	if call.Update == nil {
		return &refusal{http.StatusBadRequest, "Expecting 'update' to be present"}
	}
	if err := a.validate(&call.Update.Status); err != nil {
		return err
	}
	a.accept(call.Update.Status)
	return nil
}

// accept notes and acknowledges an update. mu is held.
func (a *Agent) accept(s Status) {
	a.updates = append(a.updates, s)
	t := a.tasks[s.Task.Value]
	if t == nil {
		t = &Task{}
		a.tasks[s.Task.Value] = t
	}
	if !a.seen[string(s.UUID)] {
		a.seen[string(s.UUID)] = true
		t.State, t.States, t.Messages = s.State, append(t.States, s.State), append(t.Messages, s.Message)
	}
	if a.muted {
		return
	}
	text, err := json.Marshal(object{"type": "ACKNOWLEDGED", "acknowledged": object{"task_id": id(s.Task.Value), "uuid": s.UUID}})
	if err != nil {
		panic(err)
	}
	a.push(Record(text))
}

// serve writes the stream of events until it ends.
func (a *Agent) serve(w http.ResponseWriter, r *http.Request, stream chan []byte, over chan struct{}) {
	defer a.change(func() {
		if a.stream == stream {
			a.stream, a.over = nil, nil
		}
	})
	a.mu.Lock()
	cut, pieces := a.cut, a.o.Pieces
	a.cut = 0
	a.mu.Unlock()
	flusher := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_ = flusher.Flush()
	sent := 0
	for {
		var text []byte
		select {
		case <-r.Context().Done():
			return
		case <-over:
			panic(http.ErrAbortHandler) // the connection breaks
		case text = <-stream:
		}
		for len(text) > 0 {
			n := len(text)
			if pieces > 0 {
				n = min(n, pieces)
			}
			if cut > 0 {
				n = min(n, cut-sent)
			}
			if _, err := w.Write(text[:n]); err != nil || flusher.Flush() != nil {
				return
			}
			text, sent = text[n:], sent+n
			if a.isEnding() && len(text) == 0 {
				return
			}
			if cut > 0 && sent == cut {
				panic(http.ErrAbortHandler)
			}
		}
	}
}

func (a *Agent) isEnding() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ending
}
