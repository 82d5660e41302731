package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"github.com/stoker-init/stoker/supervisor"
)

// Client talks to a Server on a unix socket.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient makes a client for the socket at path.
func NewClient(path string) *Client {
	return &Client{socket: path, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}
}

// RefusedError is an answer that is not a success.
type RefusedError struct {
	Status  int
	Code    string
	Message string
	Hint    string
}

func (e *RefusedError) Error() string { return e.Message }

// do sends a request without a body; the caller closes that of the answer.
func (c *Client) do(ctx context.Context, method, path string, header http.Header) (io.ReadCloser, error) {
	return c.request(ctx, method, path, header, nil)
}

// request is the same with a body.
func (c *Client) request(ctx context.Context, method, path string, header http.Header, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://stoker"+path, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNoSocket, c.socket, err)
	}
	if resp.StatusCode < 300 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var e Error
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&e); err != nil {
		return nil, &RefusedError{Status: resp.StatusCode, Message: resp.Status}
	}
	return nil, &RefusedError{resp.StatusCode, e.Error.Code, e.Error.Message, e.Error.Hint}
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	body, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	return json.NewDecoder(body).Decode(into)
}

// Status is what runs.
func (c *Client) Status(ctx context.Context) (st Status, err error) {
	err = c.get(ctx, "/v1/services", &st)
	return st, err
}

// post sends a request without a body, and reads the answer.
func (c *Client) post(ctx context.Context, path string, into any) error {
	body, err := c.do(ctx, http.MethodPost, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	return json.NewDecoder(body).Decode(into)
}

// Command is "start", "stop" or "restart".
func (c *Client) Command(ctx context.Context, name, verb string) (snap supervisor.Snapshot, err error) {
	err = c.post(ctx, "/v1/services/"+url.PathEscape(name)+"/"+verb, &snap)
	return snap, err
}

// JVM is the explanation of a service's JVM options; empty: the main service's. As
// text it is laid out within a width; 0: without bounds.
func (c *Client) JVM(ctx context.Context, service, format string, width int) (string, error) {
	q := url.Values{"service": {service}, "format": {format}, "width": {strconv.Itoa(width)}}
	body, err := c.do(ctx, http.MethodGet, "/v1/jvm?"+q.Encode(), nil)
	if err != nil {
		return "", err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	return string(data), err
}
