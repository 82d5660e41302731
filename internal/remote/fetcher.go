package remote

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/statefile"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// Bounds of a request.
const (
	// MaxBody bounds a document, in bytes.
	MaxBody      = 1 << 20
	maxRedirects = 5
	firstPause   = 100 * time.Millisecond // after the first failed try; it doubles
	longestPause = time.Second
	maxPEM       = 4 << 20 // bytes of a ca_file; a system bundle has 220 KiB
	// confirmAfter is how old the stored time may become before a confirmation by the service is written to disk.
	confirmAfter = 10 * time.Minute
)

// Document is the answer of a service, or the content of a file.
type Document[T any] struct {
	// Value is what Accept has made of it.
	Value T
	// URL is the masked URL, or the path of the file.
	URL string
	// Time is when the service gave or confirmed the answer.
	Time time.Time
	// Stale is why this is the saved answer; nil: it is current.
	Stale error
	// Unkept is why the answer was not saved; nil: it was.
	Unkept error
	// Damaged is why the saved answer is unusable; nil: it is usable, or there is none.
	Damaged error
}

// Fetcher fetches documents and saves good answers. It is safe for concurrent use; its fields must not change meanwhile.
type Fetcher[T any] struct {
	// Dir is the folder of saved answers, created on demand; empty: none are saved.
	Dir string
	// Accept parses an answer, which is UTF-8 and has at most MaxBody bytes. An error makes it a RefusedError. The content type is as
	// the service has sent it; a file has none.
	Accept func(contentType string, body []byte) (T, error)
}

// RefusedError is the error of an answer that arrived and is not acceptable.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return "the answer is refused: " + e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// good is an acceptable answer.
type good[T any] struct {
	*savedAnswer
	value T
}

// Fetch asks for a document until it gets a good answer, the deadline expires, or a retry is pointless. Then it returns the saved
// answer unless the source requires a fresh one. Errors and documents have masked URLs.
func (f *Fetcher[T]) Fetch(ctx context.Context, s Source, lookup Lookup) (Document[T], error) {
	t, err := s.target(lookup)
	if err != nil {
		return Document[T]{}, fmt.Errorf("cannot ask %s: %w", redact.URL(cmp.Or(s.File, s.URL)), err)
	}
	old, damage := f.load(cacheKey(t))
	if old != nil && s.KeptDeadline > 0 && !s.RequireFresh {
		s.Deadline = s.KeptDeadline
	}
	doc := Document[T]{URL: t.shown(), Damaged: damage}
	fresh, err := f.ask(ctx, s, t, old)
	switch {
	case err == nil:
		doc.Value, doc.Time = fresh.value, time.Now()
		if fresh.Time.Before(doc.Time.Add(-confirmAfter)) {
			fresh.Time = doc.Time
			doc.Unkept = f.save(fresh.savedAnswer)
		}
		return doc, nil
	case s.RequireFresh:
		return Document[T]{}, fmt.Errorf("cannot get %s: %w, and require_fresh forbids the last good answer", doc.URL, err)
	case old == nil && damage != nil:
		return Document[T]{}, fmt.Errorf("cannot get %s: %w, and the last good answer cannot be used: %w", doc.URL, err, damage)
	case old == nil:
		return Document[T]{}, fmt.Errorf("cannot get %s: %w, and no good answer was kept", doc.URL, err)
	}
	doc.Value, doc.Time, doc.Stale = old.value, old.Time, err
	return doc, nil
}

// finalError is an error that a retry would not change.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// ask retries until the deadline. It returns old if the service has confirmed it.
func (f *Fetcher[T]) ask(ctx context.Context, s Source, t target, old *good[T]) (*good[T], error) {
	client, err := newClient(t, s.CAFile, s.Headers) // reading certificates does not count against the timeout
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, s.Deadline)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		try, cancel := context.WithTimeout(ctx, s.Timeout)
		before := err
		var fresh *good[T]
		fresh, err = f.tryOnce(try, client, s, t, old)
		switch {
		case err == nil || try.Err() == nil:
		case ctx.Err() != nil && before != nil: // this try was cut short; the error before says more
			err = before
		default:
			err = fmt.Errorf("no answer within %v", min(s.Timeout, s.Deadline))
		}
		cancel()
		if err == nil || errors.As(err, new(finalError)) {
			return fresh, err
		}
		if s.OnRetry != nil {
			s.OnRetry(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(jittered(pause, rand.Float64())):
		}
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

// jittered spreads the tries of many containers: it returns a pause from half of the given one (random 0) to all of it (random 1).
func jittered(pause time.Duration, random float64) time.Duration {
	return time.Duration((1 + random) / 2 * float64(pause))
}

// tryOnce makes one try.
func (f *Fetcher[T]) tryOnce(ctx context.Context, client *http.Client, s Source, t target, old *good[T]) (*good[T], error) {
	if t.file != "" {
		return f.readFile(t, old)
	}
	headers := http.Header{"Accept": {cmp.Or(s.Accept, "application/json, text/plain")}, "User-Agent": {"stoker"}}
	for name, value := range s.Headers {
		headers.Set(name, value)
	}
	if old != nil && old.ETag != "" {
		headers.Set("If-None-Match", old.ETag)
	}
	if old != nil && old.LastModified != "" {
		headers.Set("If-Modified-Since", old.LastModified)
	}
	req, err := newRequest(ctx, http.MethodGet, t, headers, "")
	if err != nil {
		return nil, finalError{err}
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch code := resp.StatusCode; {
	case code == http.StatusNotModified && old != nil:
		return old, nil
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return nil, fmt.Errorf("it answers with the status %d", code)
	case code != http.StatusOK:
		return nil, finalError{fmt.Errorf("it answers with the status %d", code)}
	}
	body, err := readBody(resp, MaxBody+1)
	if err != nil {
		return nil, err
	}
	return f.fresh(t, body, savedAnswer{ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified"),
		ContentType: resp.Header.Get("Content-Type")})
}

// readFile is tryOnce for a file. One that does not exist or is empty may still be written.
func (f *Fetcher[T]) readFile(t target, old *good[T]) (*good[T], error) {
	body, err := untrusted.ReadFile(t.file, MaxBody)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case errors.Is(err, untrusted.ErrTooLarge):
		return nil, finalError{&RefusedError{err}}
	case err != nil:
		return nil, finalError{err}
	case len(body) == 0:
		return nil, errors.New("it is empty")
	case old != nil && old.Body == string(body):
		return old, nil
	}
	return f.fresh(t, body, savedAnswer{})
}

// fresh returns a fresh answer to t, if it is acceptable. about has what else is known of it.
func (f *Fetcher[T]) fresh(t target, body []byte, about savedAnswer) (*good[T], error) {
	about.URL, about.Key, about.Body = t.shown(), cacheKey(t), string(body)
	value, err := f.accept(&about)
	if err != nil {
		return nil, finalError{&RefusedError{err}}
	}
	return &good[T]{&about, value}, nil
}

// accept parses an answer.
func (f *Fetcher[T]) accept(a *savedAnswer) (value T, err error) {
	switch {
	case len(a.Body) > MaxBody:
		return value, fmt.Errorf("it has more than %d KiB", MaxBody>>10)
	case !utf8.ValidString(a.Body):
		return value, errors.New("it is not UTF-8")
	}
	return f.Accept(a.ContentType, []byte(a.Body))
}

// newRequest returns a request with headers, of which Host is sent as the host.
func newRequest(ctx context.Context, method string, t target, headers http.Header, body string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, t.url.String(), strings.NewReader(body))
	if err != nil {
		return nil, errors.New("the request cannot be made")
	}
	req.Header, req.Host = headers, cmp.Or(headers.Get("Host"), req.Host)
	return req, nil
}

// readBody reads at most the given bytes of an answer.
func readBody(resp *http.Response, most int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		err = fmt.Errorf("the answer ended in the middle: %w", withoutURL(err))
	}
	return body, err
}

// withoutURL returns the cause of a client error, whose text would contain the unmasked URL. A certificate error is final, and so are
// headers that are too large, of which package http gives the text only (of HTTP/2 not even that).
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	switch {
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return finalError{err}
	case strings.Contains(err.Error(), "response headers exceeded"):
		return finalError{fmt.Errorf("its headers have more than %d KiB", maxHeader>>10)}
	}
	return err
}

// maxHeader bounds the header of an answer in bytes.
const maxHeader = 64 << 10

// newClient returns the HTTP client of one Fetch or Send. caFile has certificates beside the system's; headers are those that were
// configured for the host of the target.
func newClient(t target, caFile string, headers map[string]string) (*http.Client, error) {
	transport := &http.Transport{Proxy: exceptLinkLocal(http.ProxyFromEnvironment), ForceAttemptHTTP2: true, MaxResponseHeaderBytes: maxHeader}
	if t.socket != "" {
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", t.socket)
		}
	}
	if caFile != "" {
		pem, err := untrusted.ReadFile(caFile, maxPEM)
		if err != nil {
			return nil, finalError{fmt.Errorf("cannot read ca_file %s: %w", strconv.Quote(caFile), err)}
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool() // the image has no certificates
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, finalError{fmt.Errorf("cannot use ca_file %s: it holds no certificate in PEM", strconv.Quote(caFile))}
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		last := via[len(via)-1].URL
		switch {
		case len(via) > maxRedirects:
			return finalError{fmt.Errorf("it redirects more than %d times", maxRedirects)}
		case req.URL.Scheme != "http" && req.URL.Scheme != "https":
			return finalError{errors.New("it redirects to a URL that is neither http nor https")}
		case last.Scheme == "https" && req.URL.Scheme != "https":
			return finalError{errors.New("it redirects from https to http")}
		case t.socket != "" && req.URL.Host != last.Host:
			return finalError{errors.New("it redirects away from its socket")}
		}
		if req.URL.Host != via[0].URL.Host { // headers configured for one host are not sent to another
			req.Header.Del("Referer") // it contains the query
			for name := range headers {
				req.Header.Del(name)
			}
		}
		return nil
	}}, nil
}

// exceptLinkLocal makes requests to link-local addresses, such as those of a metadata service, without a proxy. Of loopback addresses
// package http does so itself.
func exceptLinkLocal(proxy func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	return func(req *http.Request) (*url.URL, error) {
		if addr, err := netip.ParseAddr(req.URL.Hostname()); err == nil && addr.Unmap().IsLinkLocalUnicast() {
			return nil, nil
		}
		return proxy(req)
	}
}

// maxCopy bounds a saved answer in bytes: one with every byte escaped, plus metadata.
const maxCopy = 6*MaxBody + 64<<10

// savedAnswer is the last good answer to one URL, as stored on disk.
type savedAnswer struct {
	URL string `json:"url"` // masked for display
	// Key is a hash of the URL with its secrets.
	Key          string    `json:"key"`
	Time         time.Time `json:"time"` // when the service last gave or confirmed it
	ETag         string    `json:"etag,omitempty"`
	LastModified string    `json:"last_modified,omitempty"`
	ContentType  string    `json:"content_type,omitempty"`
	Body         string    `json:"body"`
}

func cacheKey(t target) string {
	sum := sha256.Sum256([]byte(t.full))
	return hex.EncodeToString(sum[:])
}

// file returns the state file of a key.
func (f *Fetcher[T]) file(key string) statefile.File {
	return statefile.File{Path: filepath.Join(f.Dir, key[:32]+".json"), Kind: "last-good-answer", Max: maxCopy}
}

// load reads the saved answer of a key; nil without an error if there is none.
func (f *Fetcher[T]) load(key string) (*good[T], error) {
	if f.Dir == "" {
		return nil, nil
	}
	k := new(savedAnswer)
	err := f.file(key).Read(k)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = k.check(key, time.Now())
	}
	if err != nil {
		return nil, err
	}
	value, err := f.accept(k)
	if err != nil { // Accept has changed since it was saved
		return nil, fmt.Errorf("it is refused: %w", err)
	}
	return &good[T]{k, value}, nil
}

// check checks that the saved answer belongs to key. A time after now is set to now.
func (k *savedAnswer) check(key string, now time.Time) error {
	if k.Key != key {
		return errors.New("it is that of another URL")
	}
	if k.Time.After(now) { // the clock was set back
		k.Time = now
	}
	return nil
}

// save replaces the saved answer.
func (f *Fetcher[T]) save(k *savedAnswer) error {
	if f.Dir == "" {
		return errors.New("there is no folder for it")
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return err
	}
	k.Time = k.Time.UTC().Round(0)
	return f.file(k.Key).Write(k)
}
