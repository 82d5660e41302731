package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/supervisor"
	"golang.org/x/sys/unix"
)

// Client is a client of a Server on a unix socket.
type Client struct {
	socket string
	strict bool // check that the listening process may be a stoker
	http   *http.Client
}

// NewClient makes a client for the socket at path.
func NewClient(path string) *Client {
	c := &Client{socket: path}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		MaxResponseHeaderBytes: maxAnswerHeader,
	}}
	return c
}

// Socket is the path of the socket.
func (c *Client) Socket() string { return c.socket }

// A connection may take tryTime. If the server has no room it is tried again after
// retryPause.
const (
	tryTime    = 2 * time.Second
	retryPause = 5 * time.Millisecond
)

// connect checks that a connection is possible.
func (c *Client) connect() error {
	ctx, cancel := context.WithTimeout(context.Background(), tryTime)
	defer cancel()
	conn, err := c.dial(ctx)
	if op := new(net.OpError); errors.As(err, &op) {
		err = op.Err
	}
	if err != nil {
		return err
	}
	return conn.Close()
}

// dial connects, and checks the listening process (SO_PEERCRED, unix(7)) before anything
// is sent.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.socket)
	for begun := time.Now(); errors.Is(err, unix.EAGAIN) && time.Since(begun) < tryTime; {
		// The queue of the socket is full: others connect faster than they are accepted.
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(retryPause):
		}
		conn, err = new(net.Dialer).DialContext(ctx, "unix", c.socket)
	}
	if err != nil || !c.strict {
		return conn, err
	}
	cred, err := credentials(conn)
	if err == nil && !mayBeStoker(int(cred.Uid)) {
		err = &untrustedError{fmt.Sprintf("uid %d listens there", cred.Uid)}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// Bounds on an answer, in bytes: another program may listen. Streams have none.
const (
	maxAnswerHeader = 64 << 10
	maxAnswer       = 32 << 20
)

// decode reads an answer.
func decode(body io.Reader, into any) error {
	return json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(into)
}

// StatusError is the error of an answer.
type StatusError struct {
	Status  int
	Code    string
	Message string
	Hint    string
}

func (e *StatusError) Error() string { return e.Message }

// do sends a request without a body; the caller closes the answer.
func (c *Client) do(ctx context.Context, method, path string, header http.Header) (io.ReadCloser, error) {
	return c.request(ctx, method, path, header, nil)
}

// request is the same with a body.
func (c *Client) request(ctx context.Context, method, path string, header http.Header, body io.Reader) (io.ReadCloser, error) {
	resp, err := c.roundTrip(ctx, method, path, header, body)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// roundTrip returns a successful answer.
func (c *Client) roundTrip(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	resp, err := c.exchange(ctx, method, path, header, body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, readError(resp)
}

// exchange returns any answer.
func (c *Client) exchange(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://stoker"+path, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := c.http.Do(req)
	for begun := time.Now(); body == nil && method == http.MethodGet && connectionRefused(err) && time.Since(begun) < tryTime; {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(retryPause):
		}
		resp, err = c.http.Do(req)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNoSocket, c.socket, err)
	}
	return resp, nil
}

// connectionRefused reports whether the server closed the connection before it answered: it had
// no descriptor left to identify the peer, or too many connections.
func connectionRefused(err error) bool {
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, io.EOF) ||
		// net/http does not export this one: closed before the request was written.
		err != nil && strings.Contains(err.Error(), "server closed idle connection")
}

// readError reads the error of an answer.
func readError(resp *http.Response) error {
	var e Error
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&e); err != nil {
		return &StatusError{Status: resp.StatusCode, Message: resp.Status}
	}
	return &StatusError{resp.StatusCode, e.Error.Code, e.Error.Message, e.Error.Hint}
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	body, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	return decode(body, into)
}

// Status returns the state of everything.
func (c *Client) Status(ctx context.Context) (st Status, err error) {
	err = c.get(ctx, "/v1/services", &st)
	return st, err
}

// Ready reports whether the container, or one service, is ready, and why not.
func (c *Client) Ready(ctx context.Context, service string) (is Readiness, err error) {
	path := "/v1/ready"
	if service != "" {
		path += "?" + url.Values{"service": {service}}.Encode()
	}
	resp, err := c.exchange(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return is, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return is, readError(resp)
	}
	err = decode(resp.Body, &is)
	return is, err
}

// post sends a request without a body, and reads the answer.
func (c *Client) post(ctx context.Context, path string, into any) error {
	body, err := c.do(ctx, http.MethodPost, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	return decode(body, into)
}

// Command is "start", "stop" or "restart". Where a start of the service later than
// number after has begun, start and restart do nothing.
func (c *Client) Command(ctx context.Context, name, verb string, after uint64) (snap supervisor.Snapshot, err error) {
	err = c.post(ctx, fmt.Sprintf("/v1/services/%s/%s?after=%d", url.PathEscape(name), verb, after), &snap)
	return snap, err
}

// JVM explains the options of a service's JVM; empty: the main service. Text is laid out within
// a width; 0: unbounded.
func (c *Client) JVM(ctx context.Context, service, format string, width int) (string, error) {
	q := url.Values{"service": {service}, "format": {format}, "width": {strconv.Itoa(width)}}
	body, err := c.do(ctx, http.MethodGet, "/v1/jvm?"+q.Encode(), nil)
	if err != nil {
		return "", err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	return string(data), err
}
