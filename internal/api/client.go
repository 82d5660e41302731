package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/access"
	"golang.org/x/sys/unix"
)

// Client is a client of a Server on a unix socket, or at a URL.
type Client struct {
	socket   string // or the URL
	strict   bool   // check that the listening process may be a stoker
	http     *http.Client
	shared   http.RoundTripper // of RoundTrip, HTTP/2; nil: the server has none
	asked    sync.Mutex        // guards share
	share    *bool             // the server lets this client use shared; nil: it was not asked
	endpoint access.Endpoint
}

// NewClient makes a client for the socket at path.
func NewClient(path string) *Client {
	c := &Client{socket: path}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) }
	c.http = &http.Client{Transport: &http.Transport{DialContext: dial, MaxResponseHeaderBytes: maxAnswerHeader}}
	shared := &http.Transport{DialContext: dial, MaxResponseHeaderBytes: maxAnswerHeader, Protocols: new(http.Protocols)}
	shared.Protocols.SetUnencryptedHTTP2(true)
	c.shared = shared
	c.endpoint = access.Endpoint{URL: "http://stoker", Dial: dial, Header: func() (http.Header, error) { return http.Header{}, nil }}
	return c
}

// NewRemoteClient makes a client for a server at a URL.
func NewRemoteClient(r access.Remote) (*Client, error) {
	end, err := r.Endpoint()
	if err != nil {
		return nil, err
	}
	return ClientOf(end), nil
}

// ClientOf makes a client for the server at an endpoint.
func ClientOf(end access.Endpoint) *Client {
	transport := &http.Transport{DialContext: end.Dial, TLSClientConfig: end.TLS, TLSHandshakeTimeout: access.RemoteTime,
		MaxResponseHeaderBytes: maxAnswerHeader}
	return &Client{socket: end.URL, http: &http.Client{Transport: &remoteTransport{end, transport}}, endpoint: end}
}

// remoteTransport sends the requests of a Client to a remote, with its credentials.
type remoteTransport struct {
	to   access.Endpoint
	next http.RoundTripper
}

// RoundTrip sends one request, whatever host its URL names.
func (t *remoteTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	header, err := t.to.Header()
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host, _ = strings.Cut(t.to.URL, "://")
	req.Host = ""
	maps.Copy(req.Header, header)
	return t.next.RoundTrip(req)
}

// Endpoint is what a protocol beside HTTP requests needs to reach the client's server.
func (c *Client) Endpoint() access.Endpoint { return c.endpoint }

// Socket is the path of the socket, or the URL.
func (c *Client) Socket() string { return c.socket }

// Remote reports whether the server is at a URL.
func (c *Client) Remote() bool { return isURL(c.socket) }

// A connection may take tryTime. If the server has no room it is tried again after
// retryPause.
const (
	tryTime    = 2 * time.Second
	retryPause = 5 * time.Millisecond
)

// retry calls f again while its error is a transient one.
func retry[T any](ctx context.Context, transient func(error) bool, f func() (T, error)) (T, error) {
	for begun := time.Now(); ; {
		v, err := f()
		if err == nil || !transient(err) || time.Since(begun) >= tryTime {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, ctx.Err()
		case <-time.After(retryPause):
		}
	}
}

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
	queueFull := func(err error) bool { return errors.Is(err, unix.EAGAIN) }
	conn, err := retry(ctx, queueFull, func() (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", c.socket) })
	if err != nil || !c.strict {
		return conn, err
	}
	uid, err := access.PeerUID(conn)
	if err == nil && !mayBeStoker(uid) {
		err = &untrustedError{fmt.Sprintf("uid %d listens there", uid)}
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

// exchange sends a request and returns any answer; the caller closes its body.
func (c *Client) exchange(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Response, error) {
	transient := func(err error) bool { return method == http.MethodGet && connectionRefused(err) }
	resp, err := retry(ctx, transient, func() (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, method, "http://stoker"+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		maps.Copy(req.Header, header)
		return c.http.Do(req)
	})
	return resp, noSocket(c.socket, err)
}

// connectionRefused reports whether the server closed the connection before it answered: it had
// no descriptor left to identify the peer, or too many connections.
func connectionRefused(err error) bool {
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, io.EOF) ||
		// net/http does not export this one: closed before the request was written.
		strings.Contains(err.Error(), "server closed idle connection")
}

// send returns a successful answer; the caller closes its body.
func (c *Client) send(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Response, error) {
	resp, err := c.exchange(ctx, method, path, header, body)
	if err != nil || resp.StatusCode < 300 {
		return resp, err
	}
	defer resp.Body.Close()
	return nil, ReadError(resp)
}

// ReadError returns the error of an answer that is none of success. It does not close the body.
func ReadError(resp *http.Response) error {
	var e Error
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&e); err != nil {
		return &StatusError{Status: resp.StatusCode, Message: resp.Status}
	}
	return &StatusError{resp.StatusCode, e.Error.Code, e.Error.Message, e.Error.Hint}
}

func decode(resp *http.Response, into any) error {
	defer resp.Body.Close()
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into)
}

// call sends a request, with a body unless it is nil, and reads the answer.
func call[T any](ctx context.Context, c *Client, method, path string, body any) (answer T, err error) {
	var data []byte
	header := http.Header{}
	if body != nil {
		header.Set("Content-Type", "application/json")
		if data, err = json.Marshal(body); err != nil {
			return answer, err
		}
	}
	resp, err := c.send(ctx, method, path, header, data)
	if err != nil {
		return answer, err
	}
	err = decode(resp, &answer)
	return answer, err
}

// withQuery appends a query to a path, with the names of the flags that are set.
func withQuery(path string, q url.Values, flags map[string]bool) string {
	for name, set := range flags {
		if set {
			q.Set(name, "")
		}
	}
	return path + "?" + q.Encode()
}

// servicePath is the path of a service's routes.
func servicePath(name string) string { return "/v1/services/" + url.PathEscape(name) }

// RoundTrip sends one request to the server: a Client is the transport of another client of the same socket. Requests at the same
// time share a connection (HTTP/2) where the server allows it: at the socket, to those who may submit jobs.
func (c *Client) RoundTrip(req *http.Request) (*http.Response, error) {
	transport := c.http.Transport
	if c.shared != nil && c.mayShare(req.Context()) {
		transport = c.shared
	}
	resp, err := transport.RoundTrip(req)
	return resp, noSocket(c.socket, err)
}

// mayShare asks the server once; without an answer it asks again with the next request.
func (c *Client) mayShare(ctx context.Context) bool {
	c.asked.Lock()
	defer c.asked.Unlock()
	if c.share == nil {
		who, err := call[Whoami](ctx, c, http.MethodGet, "/v1/whoami", nil)
		if err != nil && !errors.As(err, new(*StatusError)) {
			return false
		}
		c.http.CloseIdleConnections()
		share := slices.Contains(who.Grants, access.Job.String())
		c.share = &share
	}
	return *c.share
}
