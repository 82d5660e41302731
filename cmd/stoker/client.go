package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/printable"
)

// connect finds the supervisor of this container.
func connect() (*api.Client, error) {
	configured := ""
	if loaded, err := config.Load(config.Options{Environ: os.Environ()}); err == nil {
		configured = loaded.Config.API.Socket
	}
	c, err := api.Find(configured, os.Getenv)
	if err != nil {
		return nil, fmt.Errorf("cannot reach stoker: %w", err)
	}
	return c, nil
}

// printJSON is the output for programs.
func printJSON(w io.Writer, v any) error {
	text, err := jsonText(v, "  ")
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// jsonText is a line, or with an indent several, in which nothing steers a terminal and
// nothing is lost.
func jsonText(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	err := enc.Encode(v)
	return printable.JSON(b.Bytes()), err
}

// mainService is the main service, or the only one.
func mainService(ctx context.Context, c *api.Client) (string, error) {
	there, err := services(ctx, c)
	if err != nil {
		return "", err
	}
	for _, s := range there {
		if s.Main || len(there) == 1 {
			return s.Name, nil
		}
	}
	return "", &hintError{errors.New("cannot choose a service: there is no main one"), "name one; stoker status lists them", codeUsage}
}

// jvmExplain prints what was rendered for a service's latest start.
func jvmExplain(ctx context.Context, w io.Writer, name, format string) error {
	c, err := connect()
	if err != nil {
		return err
	}
	if format == "table" {
		format = "text"
	}
	text, err := c.JVM(ctx, name, format, widthOf(w))
	if err != nil {
		return fmt.Errorf("cannot explain the JVM's options: %w", err)
	}
	if format == "json" {
		text = string(printable.JSON([]byte(text)))
	}
	_, err = io.WriteString(w, text)
	return err
}
