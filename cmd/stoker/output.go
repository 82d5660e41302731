package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/stoker-init/stoker/internal/cmdline"
	"github.com/stoker-init/stoker/internal/display"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/urfave/cli/v2"
)

// tableOrJSON is the -o of commands that print a table.
func tableOrJSON() cli.Flag { return cmdline.OutputFlag("table", "json") }

func asJSON(c *cli.Context) bool { return c.String("output") == "json" }

// show prints a value, with -o json as JSON and else as text for the width of a terminal.
func show(c *cli.Context, v any, text func(width int) string) error {
	if asJSON(c) {
		return printJSON(c.App.Writer, v)
	}
	_, err := io.WriteString(c.App.Writer, text(display.Width(c.App.Writer)))
	return err
}

func printJSON(w io.Writer, v any) error {
	text, err := jsonText(v, "  ")
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// jsonText returns JSON on one line, or with an indent on several, without characters
// that would control a terminal.
func jsonText(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	err := enc.Encode(v)
	return printable.JSON(b.Bytes()), err
}

// oneLine makes foreign text a part of a line.
func oneLine(s string) string { return strings.Join(strings.Fields(printable.Text(s)), " ") }

// dash stands for an empty cell.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// optional puts a text between two others; empty: there is no text.
func optional(before, text, after string) string {
	if text == "" {
		return ""
	}
	return before + text + after
}

// fields writes lines of a name and a text, with the texts one below the other.
type fields struct {
	strings.Builder
	width int // of the terminal; 0: unlimited
}

const fieldIndent = 11

// add writes a line, unless the text is empty.
func (f *fields) add(name, text string) {
	if text != "" {
		lines := layout.Wrap(text, within(f.width, fieldIndent), "")
		fmt.Fprintf(f, "%-*s %s\n", fieldIndent-1, name, strings.ReplaceAll(lines, "\n", "\n"+strings.Repeat(" ", fieldIndent)))
	}
}

// within returns what is left of a width behind an indent; 0: unlimited.
func within(width, indent int) int {
	if width == 0 {
		return 0
	}
	return max(width-indent, layout.MinWidth)
}
