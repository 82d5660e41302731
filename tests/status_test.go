//go:build container

package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"
)

// status is the part of `stoker status -o json` that the tests use.
type status struct {
	Services []serviceStatus `json:"services"`
}

type serviceStatus struct {
	Name     string    `json:"name"`
	State    string    `json:"state"`
	Pid      int       `json:"pid"`
	Restarts int       `json:"restarts"`
	Reason   string    `json:"reason"`
	Waiting  string    `json:"waiting_for"`
	Since    time.Time `json:"since"`
	Exit     *struct {
		Code   int       `json:"code"`
		Signal int       `json:"signal"`
		At     time.Time `json:"at"`
	} `json:"exit"`
	Next   *time.Time `json:"next_start"`
	Listen []struct {
		Waiting int `json:"waiting"`
	} `json:"listen"`
	Output *struct {
		Bytes        int64  `json:"bytes"`
		Lines        uint64 `json:"lines"`
		DroppedLines uint64 `json:"dropped_lines"`
		LostLines    uint64 `json:"lost_lines"`
	} `json:"output"`
}

func parseStatus(data []byte) (status, error) {
	var st status
	err := json.Unmarshal(data, &st)
	return st, err
}

// service returns the service of that name.
func (s status) service(name string) (serviceStatus, bool) {
	for _, svc := range s.Services {
		if svc.Name == name {
			return svc, true
		}
	}
	return serviceStatus{}, false
}

// apiClient uses the API directly, because starting a program for each request would be slow.
type apiClient struct{ http http.Client }

func newAPIClient(socket string) *apiClient {
	return &apiClient{http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}}
}

// services retries until a supervisor answers, because one may be killed before it does.
func (c *apiClient) services() (status, error) {
	var st status
	var err error
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
		var resp *http.Response
		if resp, err = c.http.Get("http://stoker/v1/services"); err != nil {
			pass(time.Millisecond)
			continue
		}
		err = json.NewDecoder(resp.Body).Decode(&st)
		resp.Body.Close()
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("the API answers %s", resp.Status)
		}
		if err == nil {
			return st, nil
		}
	}
	return st, err
}

func (c *apiClient) service(name string) (serviceStatus, error) {
	st, err := c.services()
	if err != nil {
		return serviceStatus{}, err
	}
	svc, ok := st.service(name)
	if !ok {
		return svc, fmt.Errorf("there is no service %q", name)
	}
	return svc, nil
}
