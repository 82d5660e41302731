package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/jacoco"
)

// jacocoFlags are the flags of jacoco dump and reset.
type jacocoFlags struct {
	address string
	timeout time.Duration
	reset   bool
	file    string // - is stdout
}

// jacocoDump writes the agent's data to a file and says what it holds.
func jacocoDump(ctx context.Context, out, said io.Writer, o jacocoFlags) error {
	if o.file == "" {
		return &hintError{errors.New("cannot dump: no file is named"), "-o FILE, or -o - for stdout", codeUsage}
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	var s jacoco.Summary
	var err error
	if o.file == "-" {
		s, err = jacoco.Dump(ctx, o.address, o.reset, exact(out))
		out = said
	} else {
		s, err = jacoco.DumpFile(ctx, o.address, o.reset, o.file)
	}
	if err != nil {
		return hintJaCoCo(fmt.Errorf("cannot dump: %w", err))
	}
	_, err = fmt.Fprintf(out, "%d of %d probes hit in %d classes, %d sessions; %d bytes in %s\n", s.Hit, s.Probes, s.Classes, len(s.Sessions), s.Bytes, o.file)
	return err
}

// jacocoReset has the agent forget what was covered.
func jacocoReset(ctx context.Context, w io.Writer, o jacocoFlags) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if err := jacoco.Reset(ctx, o.address); err != nil {
		return hintJaCoCo(fmt.Errorf("cannot reset: %w", err))
	}
	_, err := fmt.Fprintln(w, "nothing counts as covered any more")
	return err
}

// hintJaCoCo says what to try.
func hintJaCoCo(err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "is the plugin active, and the JVM started with it? stoker plugin show jacoco; --address names another place"
	case errors.Is(err, jacoco.ErrBusy):
		hint = "try again when the other dump is over, or with a longer --timeout"
	case errors.Is(err, context.DeadlineExceeded):
		hint = "a longer --timeout may help"
	case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		hint = "-o is a file in a folder that exists and may be written to"
	}
	return &hintError{err, hint, 0}
}
