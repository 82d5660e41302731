// Package page_test drives the page of a real stoker, with a real Tomcat, in a real Chromium. It is a module of its own, so that stoker
// depends on none of that.
package page_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience is how long something may take that the page should show.
const patience = 30 * time.Second

// startChromium starts a browser for a test; it ends with ctx.
func startChromium(ctx context.Context) (context.Context, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("the tests of the page need Debian's package chromium: %w", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.IgnoreCertErrors, chromedp.Flag("hide-scrollbars", false))
	ctx, _ = chromedp.NewExecAllocator(ctx, options...)
	ctx, _ = chromedp.NewContext(ctx, chromedp.WithErrorf(func(format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !strings.Contains(text, "unhandled node event") { // newer than the library
			fmt.Fprintln(os.Stderr, text)
		}
	}))
	return ctx, chromedp.Run(ctx)
}

// view is the size and the scheme of a window.
type view struct {
	name          string
	width, height int64
	phone, dark   bool
}

var (
	desktop = view{"desktop", 1280, 720, false, false}
	phone   = view{"phone", 375, 667, true, false}
)

// tab is a page in a browser. At its end the test fails for everything that the page has complained about.
type tab struct {
	*testing.T
	ctx context.Context

	mu      sync.Mutex
	faults  []string
	allowed []string // parts of complaints that are expected
}

// open opens an address.
func open(t *testing.T, v view, address string) *tab {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, err := startChromium(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p := &tab{T: t, ctx: ctx}
	chromedp.ListenTarget(ctx, p.event)
	scheme := "light"
	if v.dark {
		scheme = "dark"
	}
	p.run(log.Enable(), chromedp.ActionFunc(func(ctx context.Context) error {
		size := emulation.SetDeviceMetricsOverride(v.width, v.height, 1, v.phone)
		return size.Do(ctx)
	}), emulation.SetTouchEmulationEnabled(v.phone),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		chromedp.Navigate(address))
	t.Cleanup(func() {
		if t.Failed() {
			p.screenshot("failed-" + strings.ReplaceAll(t.Name(), "/", "-"))
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, fault := range p.faults {
			t.Errorf("the page complains: %s", fault)
		}
	})
	return p
}

// event notes complaints: exceptions, console errors, and what the browser refuses, such as by the content security policy.
func (p *tab) event(event any) {
	text := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Error()
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning || e.Type == runtime.APITypeAssert {
			for _, arg := range e.Args {
				text += string(arg.Value) + arg.Description + " "
			}
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError || e.Entry.Source == log.SourceSecurity {
			text = fmt.Sprintf("%s %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if text == "" {
		return
	}
	for _, part := range p.allowed {
		if strings.Contains(text, part) {
			return
		}
	}
	p.faults = append(p.faults, text)
}

// allow expects complaints with this text from now on.
func (p *tab) allow(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allowed = append(p.allowed, part)
}

func (p *tab) run(actions ...chromedp.Action) {
	p.Helper()
	if err := chromedp.Run(p.ctx, actions...); err != nil {
		p.Fatal(err)
	}
}

// eval returns the value of an expression as JSON text; a string without its quotes.
func (p *tab) eval(expression string) string {
	p.Helper()
	var raw json.RawMessage
	p.run(chromedp.Evaluate(expression, &raw, func(e *runtime.EvaluateParams) *runtime.EvaluateParams { return e.WithAwaitPromise(true) }))
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

// until waits for an expression to be true.
func (p *tab) until(what, expression string) {
	p.Helper()
	var last json.RawMessage
	for end := time.Now().Add(patience); ; <-time.After(50 * time.Millisecond) {
		err := chromedp.Run(p.ctx, chromedp.Evaluate(expression, &last))
		if err == nil && string(last) == "true" {
			return
		}
		if time.Now().After(end) || p.ctx.Err() != nil {
			p.Fatalf("%s: %s is %s, %v; the page has:\n%s", what, expression, last, err, p.text("body"))
		}
	}
}

// text is the visible text of an element.
func (p *tab) text(selector string) string {
	p.Helper()
	return p.eval(fmt.Sprintf("(document.querySelector(%q)?.innerText ?? '')", selector))
}

// sees waits for a text in an element.
func (p *tab) sees(selector, text string) {
	p.Helper()
	p.until(text+" in "+selector, fmt.Sprintf("(document.querySelector(%q)?.innerText ?? '').includes(%q)", selector, text))
}

// press clicks the first visible button or link in an element that has this name, when it is not busy.
func (p *tab) press(within, name string) {
	p.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll(%q)].flatMap((e) => [...e.querySelectorAll('button, a, summary, [role=tab]')])
		.find((e) => (e.getAttribute('aria-label') ?? e.innerText).trim() === %q && e.checkVisibility() &&
			!e.closest('[aria-busy=true]'))`, within, name)
	p.until("a button "+name, "!!"+find)
	p.eval(find + ".click()")
}

// keys types as a keyboard does, or as an input method if a character is not on one. Control characters are those of kb.
func (p *tab) keys(text string) {
	p.Helper()
	for _, c := range text {
		named := map[rune]struct {
			key             string
			code, modifiers int64
			text            string
		}{'\r': {"Enter", 13, 0, "\r"}, '\t': {"Tab", 9, 0, ""}, '\x1b': {"Escape", 27, 0, ""}, '\x03': {"c", 67, 2, ""}}
		k, special := named[c]
		switch {
		case special:
		case c < 0x7f:
			if k.key, k.text = string(c), string(c); unicode.IsLetter(c) || unicode.IsDigit(c) || c == ' ' {
				k.code = int64(unicode.ToUpper(c))
			}
		default:
			p.run(input.InsertText(string(c)))
			continue
		}
		down := input.DispatchKeyEvent(input.KeyDown).WithKey(k.key).WithText(k.text).WithModifiers(input.Modifier(k.modifiers)).
			WithWindowsVirtualKeyCode(k.code)
		up := input.DispatchKeyEvent(input.KeyUp).WithKey(k.key).WithModifiers(input.Modifier(k.modifiers)).WithWindowsVirtualKeyCode(k.code)
		if k.text == "" {
			down.Type = input.KeyRawDown
		}
		p.run(down, up)
	}
}

func (p *tab) enter(text string) {
	p.Helper()
	p.keys(text + kb.Enter)
}

// fill puts a text into a field.
func (p *tab) fill(selector, text string) {
	p.Helper()
	p.until("a field "+selector, fmt.Sprintf("!!document.querySelector(%q)", selector))
	p.eval(fmt.Sprintf("document.querySelector(%q).value = %q", selector, text))
}

// screenshot keeps a picture of the window.
func (p *tab) screenshot(name string) {
	p.Helper()
	var picture []byte
	if err := chromedp.Run(p.ctx, chromedp.ActionFunc(func(ctx context.Context) (err error) {
		picture, err = page.CaptureScreenshot().Do(ctx)
		return err
	})); err != nil {
		p.Logf("no screenshot: %v", err)
		return
	}
	folder := artifacts()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o644); err != nil {
		p.Fatal(err)
	}
}

// artifacts is the folder of the screenshots.
func artifacts() string {
	if folder := os.Getenv("ARTIFACTS"); folder != "" {
		return folder
	}
	return filepath.Join(os.TempDir(), "stoker-page")
}
