//go:build container

package tests

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// capture stores its input.
type capture struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.Write(p)
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}

func (c *capture) count(text string) int { return strings.Count(c.String(), text) }

// read reads r to its end.
func (c *capture) read(r io.Reader) { io.Copy(c, r) }
