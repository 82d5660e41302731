package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/supervisor"
)

// services are those that there are.
func services(ctx context.Context, c *api.Client) ([]supervisor.Snapshot, error) {
	st, err := persist(ctx, func() (api.Status, error) { return c.Status(ctx) })
	if err != nil {
		return nil, fmt.Errorf("cannot ask which services there are: %w", err)
	}
	return st.Services, nil
}

// chooseServices are the services that names mean, each once: every one of them is
// there, and "all" means all. verb is what is to be done with them.
func chooseServices(there []supervisor.Snapshot, verb string, names []string) ([]string, error) {
	var known, out []string
	for _, s := range there {
		known = append(known, s.Name)
	}
	for _, name := range names {
		switch {
		case name == config.AllServices && verb == "signal":
			return nil, &hintError{errors.New("cannot signal all: a signal goes to one service"), suggest.Hint("", known), codeUsage}
		case name == config.AllServices:
			out = append(out, known...)
		case !slices.Contains(known, name):
			return nil, noService(verb, name, known)
		default:
			out = append(out, name)
		}
	}
	return unique(out), nil
}

// unique keeps the first of each.
func unique(names []string) (out []string) {
	for _, name := range names {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// noService says that there is no service of a name, and which may be meant.
func noService(verb, name string, known []string) error {
	return &hintError{fmt.Errorf("cannot %s %q: there is no such service", verb, name), suggest.Hint(name, known), codeNoThing}
}
