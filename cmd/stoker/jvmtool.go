package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/stoker-init/stoker/internal/api"
)

// toolFlags are the flags of the commands that ask a running JVM.
type toolFlags struct {
	api.JVMTool
	live bool // heapdump: said to be so, which it is anyway
}

// jvmTool asks the JVM of a service, and prints what it answers.
func jvmTool(ctx context.Context, w io.Writer, args []string, o toolFlags) error {
	if o.live && o.All {
		return &hintError{errors.New("cannot dump both live objects only and all"), "--live is the default, --all takes unreachable ones too", codeUsage}
	}
	if o.Timeout < 0 {
		return &hintError{fmt.Errorf("cannot wait for %v", o.Timeout), "--timeout is a duration such as 30s", codeUsage}
	}
	c, err := connect()
	if err != nil {
		return err
	}
	service := optional(args)
	if service == "" {
		if service, err = mainService(ctx, c); err != nil {
			return err
		}
	}
	if len(args) > 1 {
		if args[1] == "" || strings.HasSuffix(args[1], "/") {
			return &hintError{fmt.Errorf("cannot write a heap dump to %q", args[1]), "name a file that is not there yet, or none", codeUsage}
		}
		if o.File, err = filepath.Abs(args[1]); err != nil {
			return fmt.Errorf("cannot tell where %s is: %w", args[1], err)
		}
	}
	text, err := c.JVMTool(ctx, service, o.JVMTool)
	if err != nil {
		return fmt.Errorf("cannot get %s of %s: %w", toolNoun(o.Tool), service, err)
	}
	defer text.Close()
	if _, err = io.Copy(w, text); err != nil {
		return fmt.Errorf("cannot get all of %s of %s: %w", toolNoun(o.Tool), service, err)
	}
	return nil
}

// toolNoun is what a tool gives.
func toolNoun(tool string) string {
	switch tool {
	case api.ToolThreads:
		return "the threads"
	case api.ToolHisto:
		return "the class histogram"
	case api.ToolFlags:
		return "the JVM flags"
	case api.ToolNMT:
		return "the native memory"
	}
	return "a heap dump"
}
