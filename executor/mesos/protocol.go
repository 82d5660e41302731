package mesos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"
)

// value is an ID.
type value struct {
	Value string `json:"value"`
}

// call is a request to the agent.
type call struct {
	Type      string     `json:"type"`
	Executor  value      `json:"executor_id"`
	Framework value      `json:"framework_id"`
	Subscribe *subscribe `json:"subscribe,omitempty"`
	Update    *update    `json:"update,omitempty"`
	Message   *message   `json:"message,omitempty"`
}

// subscribe asks for the stream of events.
type subscribe struct {
	Tasks   []taskHead `json:"unacknowledged_tasks"`
	Updates []update   `json:"unacknowledged_updates"`
}

// taskHead is what a TaskInfo must have.
type taskHead struct {
	Name  string `json:"name"`
	ID    value  `json:"task_id"`
	Agent value  `json:"agent_id"`
}

type update struct {
	Status status `json:"status"`
}

// status is a TaskStatus.
type status struct {
	Task      value   `json:"task_id"`
	State     string  `json:"state"`
	Source    string  `json:"source"`
	UUID      []byte  `json:"uuid"`
	Executor  value   `json:"executor_id"`
	Timestamp float64 `json:"timestamp"` // seconds
	Message   string  `json:"message,omitempty"`
	Reason    string  `json:"reason,omitempty"`
	Data      []byte  `json:"data,omitempty"`
}

type message struct {
	Data []byte `json:"data"`
}

// event is what the agent sends.
type event struct {
	Type       string `json:"type"`
	Subscribed struct {
		Framework struct {
			Capabilities []struct {
				Type string `json:"type"`
			} `json:"capabilities"`
		} `json:"framework_info"`
	} `json:"subscribed"`
	Launch struct {
		Task json.RawMessage `json:"task"`
	} `json:"launch"`
	Group struct {
		Tasks struct {
			Tasks []json.RawMessage `json:"tasks"`
		} `json:"task_group"`
	} `json:"launch_group"`
	Kill struct {
		Task   value       `json:"task_id"`
		Policy *killPolicy `json:"kill_policy"`
	} `json:"kill"`
	Acknowledged struct {
		Task value  `json:"task_id"`
		UUID []byte `json:"uuid"`
	} `json:"acknowledged"`
	Message message `json:"message"`
	Error   struct {
		Message string `json:"message"`
	} `json:"error"`
}

type killPolicy struct {
	Grace *duration `json:"grace_period"`
}

type duration struct {
	Nanoseconds int64 `json:"nanoseconds"`
}

// agent calls the API of an agent. The stream of events has a connection of its own.
type agent struct {
	env    *Environment
	client http.Client
}

// answerTime is how long the agent may take to answer.
const answerTime = 10 * time.Second

// jsonType is the media type of both directions. The agent compares all of it.
const jsonType = "application/json"

// dialFunc opens a connection.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

func newAgent(env *Environment, dial dialFunc) *agent {
	if dial == nil {
		dial = (&net.Dialer{Timeout: min(max(env.Backoff, time.Second), answerTime)}).DialContext
	}
	t := &http.Transport{ResponseHeaderTimeout: answerTime, DisableCompression: true, MaxIdleConns: 1, IdleConnTimeout: time.Minute,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if env.Socket != "" {
				network, address = "unix", env.Socket
			}
			return dial(ctx, network, address)
		}}
	// A redirect could carry the token elsewhere.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &agent{env, http.Client{Transport: t, CheckRedirect: stay}}
}

// statusError is an answer that is no success.
type statusError struct {
	Code int
	Text string
}

func (e *statusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the agent answers %d %s", e.Code, e.Text))
}

// final reports whether the same request would never succeed. 404: the routes of the agent are not up yet.
func (e *statusError) final() bool { return e.Code/100 == 4 && e.Code != http.StatusNotFound }

// do sends a call. The body of the answer is the caller's to close.
func (a *agent) do(ctx context.Context, c call, want int) (*http.Response, error) {
	c.Executor.Value, c.Framework.Value = a.env.Executor, a.env.Framework
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("cannot write a call: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.env.URL, bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("cannot make a call: %w", err)
	}
	req.Header.Set("Content-Type", jsonType)
	req.Header.Set("Accept", jsonType)
	req.Header["Idempotency-Key"] = nil // it is not sent: net/http may repeat a call when an idle connection turns out to be closed
	if a.env.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.env.token)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != want {
		defer resp.Body.Close()
		const most = 300
		text, _ := io.ReadAll(io.LimitReader(resp.Body, most)) // what has come will do
		return nil, &statusError{resp.StatusCode, strings.Join(strings.Fields(string(text)), " ")}
	}
	return resp, nil
}

// subscribe opens the stream of events.
func (a *agent) subscribe(ctx context.Context, s *subscribe) (io.ReadCloser, error) {
	resp, err := a.do(ctx, call{Type: "SUBSCRIBE", Subscribe: s}, http.StatusOK)
	if err != nil {
		return nil, err
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != jsonType {
		resp.Body.Close()
		return nil, fmt.Errorf("the agent answers with %.60q instead of JSON", resp.Header.Get("Content-Type"))
	}
	return resp.Body, nil
}

// send sends a call that has no answer.
func (a *agent) send(ctx context.Context, c call) error {
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime)
	defer cancel()
	resp, err := a.do(ctx, c, http.StatusAccepted)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxRecord)) // so that the connection can be used again
	return resp.Body.Close()
}
