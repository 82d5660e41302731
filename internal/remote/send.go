package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Request is a notification to a service. URL, headers and body may contain ${NAME}.
type Request struct {
	Method  string
	URL     string // as in Source
	Headers map[string]string
	Body    string // empty: none
	CAFile  string // PEM certificates added to the system's; empty: none
}

// Response is the answer of a service.
type Response struct {
	Status int
	Body   []byte // at most maxResponse bytes
}

// maxResponse bounds the body of a Response in bytes.
const maxResponse = 64 << 10

// Send sends a request once. Any status is a response. Redirects are followed if they keep the host and the method. Errors contain no
// URL.
func Send(ctx context.Context, r Request, lookup Lookup) (Response, error) {
	t, err := parse(r.URL, lookup)
	if err != nil {
		return Response{}, err
	}
	req, err := r.build(ctx, t, lookup)
	if err != nil {
		return Response{}, err
	}
	client, err := newClient(t, r.CAFile, r.Headers)
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
	body, err := readBody(resp, maxResponse)
	return Response{Status: resp.StatusCode, Body: body}, err
}

// build builds the HTTP request.
func (r Request) build(ctx context.Context, t target, lookup Lookup) (*http.Request, error) {
	headers := http.Header{"User-Agent": {"stoker"}}
	for name, text := range r.Headers {
		value, err := substitute(text, lookup, func(_, name, value string) (string, error) {
			if strings.ContainsFunc(value, isControl) {
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
	body, err := substitute(r.Body, lookup, bodyQuoter(headers.Get("Content-Type")))
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	return newRequest(ctx, r.Method, t, headers, body)
}

// bodyQuoter returns how a value is quoted in a body of a content type, so that it cannot end the surrounding text. In JSON the quotes
// are part of the body.
func bodyQuoter(contentType string) func(before, name, value string) (string, error) {
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
			return text[1 : len(text)-1], err // the body has the quotes
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

// Names returns the variables of a text, or an error if a reference is malformed.
func Names(text string) (names []string, err error) {
	_, err = substitute(text, func(string) (string, bool) { return "", true }, func(_, name, _ string) (string, error) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		return "", nil
	})
	return names, err
}
