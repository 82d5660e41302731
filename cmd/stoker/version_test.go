package main

import (
	"io"
	"strings"
	"testing"
)

func TestPrintVersion(t *testing.T) {
	var b strings.Builder
	if err := printVersion(&b, false, nil); err != nil || b.String() != "stoker dev\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	if err := printVersion(failing{}, false, nil); err == nil {
		t.Error("an output that cannot be written is no error")
	}
}

// failing is a closed output.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
