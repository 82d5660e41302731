package main

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	t.Setenv("STOKER_SOCKET", filepath.Join(t.TempDir(), "none.sock"))
	p := testProgram()
	var b strings.Builder
	p.App.Writer = &b
	if err := p.Run(context.Background(), []string{"stoker", "version"}); err != nil || b.String() != "stoker dev\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	p.App.Writer = failing{}
	if err := p.Run(context.Background(), []string{"stoker", "version"}); err == nil {
		t.Error("an output that cannot be written is no error")
	}
}

// failing is a closed output.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
