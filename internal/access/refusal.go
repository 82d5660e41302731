package access

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/printable"
)

// Refusal is the error of a request that is not served.
type Refusal struct {
	Status  int    // 400, 401, 403, 404, 421, 429
	Code    string // for programs
	Message string
	Hint    string
	After   time.Duration // when to try again; 0: not by itself
	guess   bool          // a credential was wrong
}

func (e *Refusal) Error() string { return e.Message }

func refuse(status int, code, hint, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// SetHeaders adds the headers that belong to a Refusal in err.
func SetHeaders(h http.Header, err error) {
	r := new(Refusal)
	if !errors.As(err, &r) {
		return
	}
	if r.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="stoker"`)
	}
	if r.After > 0 {
		h.Set("Retry-After", strconv.Itoa(int((r.After+time.Second-1)/time.Second)))
	}
}

// A peer may present maxGuesses wrong credentials in each guessTime.
const (
	guessTime  = time.Minute
	maxGuesses = 5
	maxPeers   = 1024 // that are known at once; further ones count as one
)

// Refusals counts refused requests by peer, and logs them once per peer and minute.
type Refusals struct {
	Log hclog.Logger

	mu    sync.Mutex // guards peers and what is in it
	peers map[string]*refusals
}

// refusals are those of one peer in a minute.
type refusals struct {
	all, guesses int
	until        time.Time
}

// otherPeers is the key of the peers for which there is no room.
const otherPeers = "many others"

// Add counts a refused request. The first of a minute is logged with args, the others as a count at its end. What a client has chosen
// of them is one line.
func (t *Refusals) Add(peer string, err error, args ...any) {
	reason := new(Refusal)
	guess := errors.As(err, &reason) && reason.guess
	t.mu.Lock()
	p := t.find(peer)
	first := p == nil
	if first {
		if len(t.peers) >= maxPeers {
			peer = otherPeers
		}
		if t.peers == nil {
			t.peers = map[string]*refusals{}
		}
		p = &refusals{until: time.Now().Add(guessTime)}
		t.peers[peer] = p
		time.AfterFunc(guessTime, func() { t.end(peer, p) })
	}
	p.all++
	if guess {
		p.guesses++
	}
	t.mu.Unlock()
	if first {
		args = slices.Clone(args)
		for k, a := range args {
			if text, ok := a.(string); ok {
				args[k] = printable.Line(text)
			}
		}
		t.Log.Warn("request refused", append([]any{"peer", printable.Line(peer), "reason", printable.Line(err.Error())}, args...)...)
	}
}

// AddRequest is Add for a request over TCP.
func (t *Refusals) AddRequest(r *http.Request, err error, args ...any) {
	t.Add(peerOf(r), err, append(args, "method", r.Method, "path", r.URL.Path)...)
}

// find returns the count of a peer; nil: it has none. mu is held.
func (t *Refusals) find(peer string) *refusals {
	if p := t.peers[peer]; p != nil || len(t.peers) < maxPeers {
		return p
	}
	return t.peers[otherPeers]
}

// end forgets a peer.
func (t *Refusals) end(peer string, p *refusals) {
	t.mu.Lock()
	delete(t.peers, peer)
	more := p.all - 1
	t.mu.Unlock()
	if more > 0 {
		t.Log.Warn("more requests refused", "peer", printable.Line(peer), "count", more, "within", guessTime)
	}
}

// guessed returns how long a peer that has guessed too often has to wait; 0: it has not.
func (t *Refusals) guessed(peer string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.find(peer); p != nil && p.guesses >= maxGuesses {
		return max(time.Until(p.until), time.Second)
	}
	return 0
}

// peerKey is what limits count a TCP client by: its IPv4 address, or the /64 of its IPv6 address.
func peerKey(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return addr.String()
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	return netip.PrefixFrom(ip, 64).Masked().String()
}
