package mesostest

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// pipes is a listener whose connections are in memory, so that a test can have its own time.
type pipes struct {
	conns chan net.Conn
	over  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), over: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.over) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 5), Port: 5051} } //nolint:mnd // that of an agent

// Dial connects to an agent in memory.
func (a *Agent) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a.mu.Lock()
	p, ok := a.listener.(*pipes)
	a.mu.Unlock()
	if !ok {
		return nil, syscall.ECONNREFUSED
	}
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.over:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
