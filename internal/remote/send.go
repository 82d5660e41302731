package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Request is one that tells a service something. URL, headers and body have
// ${NAME} for what a Lookup knows.
type Request struct {
	Method  string
	URL     string // as that of a Source
	Headers map[string]string
	Body    string // empty: there is none
	CAFile  string // PEM certificates that count beside the system's; empty: none
	// Timeout bounds the handshake of TLS; the whole is bounded by the context.
	Timeout time.Duration
}

// Response is what a service answered.
type Response struct {
	Status int
	Body   []byte // its beginning
}

// maxResponse bounds what is read of a Response, in bytes.
const maxResponse = 64 << 10

// Send sends a request once. Any status is an answer. A redirect is followed where
// it stays on the host and keeps the method. Errors name no URL.
func Send(ctx context.Context, r Request, lookup Lookup) (Response, error) {
	t, err := parse(r.URL, lookup)
	if err != nil {
		return Response{}, err
	}
	req, err := r.fill(ctx, t, lookup)
	if err != nil {
		return Response{}, err
	}
	client, err := newClient(Source{Timeout: r.Timeout, CAFile: r.CAFile, Headers: r.Headers}, t)
	if err != nil {
		return Response{}, err
	}
	defer client.CloseIdleConnections()
	usual := client.CheckRedirect
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		switch first := via[0]; {
		case next.URL.Host != first.URL.Host:
			return fmt.Errorf("it redirects to another host, %s", next.URL.Host)
		case next.Method != first.Method:
			return fmt.Errorf("it redirects so that %s becomes %s", first.Method, next.Method)
		}
		return usual(next, via)
	}
	resp, err := client.Do(req)
	if err != nil {
		return Response{}, withoutURL(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	if err != nil {
		return Response{Status: resp.StatusCode, Body: body}, fmt.Errorf("the answer ended in the middle: %w", withoutURL(err))
	}
	return Response{Status: resp.StatusCode, Body: body}, nil
}

// fill makes the request.
func (r Request) fill(ctx context.Context, t target, lookup Lookup) (*http.Request, error) {
	headers := http.Header{"User-Agent": {"stoker"}}
	for name, text := range r.Headers {
		value, err := substitute(text, lookup, func(_, name, value string) (string, error) {
			if strings.ContainsFunc(value, control) {
				return "", fmt.Errorf("the value of %s has a line break or another control character", name)
			}
			return value, nil
		})
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", name, err)
		}
		headers.Set(name, value)
	}
	if r.Body != "" && headers.Get("Content-Type") == "" {
		headers.Set("Content-Type", "application/json")
	}
	body, err := substitute(r.Body, lookup, quoting(headers.Get("Content-Type")))
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, t.url.String(), strings.NewReader(body))
	if err != nil {
		return nil, errors.New("the request cannot be made")
	}
	req.Header = headers
	if host := headers.Get("Host"); host != "" {
		req.Host = host
	}
	return req, nil
}

// quoting is how a value stands in a body of a type: so that it cannot end the text
// in which it is. In JSON that is within the quotes that the body has.
func quoting(contentType string) func(before, name, value string) (string, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind = ""
	}
	return func(_, _, value string) (string, error) {
		switch {
		case kind == "application/json" || strings.HasSuffix(kind, "+json"):
			var b bytes.Buffer
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			err := enc.Encode(value)
			text := strings.TrimSuffix(b.String(), "\n")
			return text[1 : len(text)-1], err // without the quotes
		case kind == "application/x-www-form-urlencoded":
			return url.QueryEscape(value), nil
		case kind == "application/xml" || kind == "text/xml" || strings.HasSuffix(kind, "+xml"):
			var b strings.Builder
			err := xml.EscapeText(&b, []byte(value))
			return b.String(), err
		}
		return value, nil
	}
}

// Names are the variables of a text; the error says that it is not written as it
// must be.
func Names(text string) (names []string, err error) {
	_, err = substitute(text, func(string) (string, bool) { return "", true }, func(_, name, _ string) (string, error) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		return "", nil
	})
	return names, err
}
