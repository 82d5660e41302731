package page_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestPage goes through all views of one stoker, as an operator would.
func TestPage(t *testing.T) {
	s := start(t, false)
	t.Run("weight", s.testWeight)
	t.Run("sign in", s.testSignIn)
	t.Run("guest", s.testGuest)
	t.Run("state", s.testState)
	t.Run("logs", s.testLogs)
	t.Run("jvm", s.testJVM)
	t.Run("plugins", s.testPlugins)
	t.Run("jobs", s.testJobs)
	t.Run("shell", s.testShell)
	t.Run("sharing", s.testSharing)
	t.Run("refused", s.testRefused)
	t.Run("reader", s.testReader)
	t.Run("tabs", s.testTabs)
	t.Run("touch", s.testTouch)
	t.Run("offline", s.testOffline)
	t.Run("looks", s.testLooks)
	t.Run("keyboard", s.testKeyboard)
	t.Run("first paint", s.testFirstPaint)
	t.Run("supervisor", s.testSupervisor)
}

func (s *stoker) testState(t *testing.T) {
	p := open(t, desktop, s.ticketURL(t))
	p.sees("main", "tomcat")
	if hash := p.eval("location.hash + history.length"); strings.Contains(hash, "ticket") {
		t.Errorf("the ticket is still in the address: %s", hash)
	}
	if kept := p.eval("JSON.stringify({...localStorage}) + document.cookie"); strings.Contains(kept, "token") {
		t.Error("the page's token belongs into sessionStorage, and nowhere else")
	}
	p.sees("#summary", "not ready, 1 problem")
	p.sees("main", "next start in")
	p.sees("main", "Memory budget of the JVM")
	p.press("main", "Start spare")
	p.sees("[data-key=spare]", "RUNNING")
	p.press("main", "Stop spare")
	p.press("dialog", "Stop")
	p.sees("[data-key=spare]", "STOPPED")
	p.press("main", "Evidence of incident 1")
	p.sees("dialog", "no database")
	p.press("dialog", "Close")
}

func (s *stoker) testSignIn(t *testing.T) {
	p := open(t, desktop, s.url)
	p.sees("main", "Sign in")
	p.allow("401")
	p.fill("#secret", "wrong")
	p.press("main", "Sign in")
	p.sees(".problem", "ticket")
	p.run(chromedp.Click("input[value=token]", chromedp.ByQuery))
	p.fill("#secret", s.token)
	p.press("main", "Sign in")
	p.sees("main", "Services")
	if kept := p.eval("JSON.stringify({...sessionStorage, ...localStorage})"); strings.Contains(kept, s.token) {
		t.Error("the token was kept")
	}
	p.press("#menu", "Menu")
	p.sees("#menu", "token ops")
	p.press("#menu", "Sign out")
	p.sees("main", "Sign in")
}

// TestTLS has the page with HTTP/1.1: HTTP/2 is not for those who have no credential yet.
func TestTLS(t *testing.T) {
	s := start(t, true)
	p := s.shell(t)
	p.enter("echo $((6*7))")
	p.sees(screen, "42")
	fetched := "performance.getEntriesByType('resource').find((e) => e.name.endsWith('/v1/services'))"
	if protocol := p.eval(fetched + ".nextHopProtocol"); protocol != "http/1.1" {
		t.Errorf("the page is served by %s", protocol)
	}
	p.press("nav", "Logs")
	p.sees(".log", "INFO")
	p.press("nav", "Shell")
	p.enter("exit")
	p.sees(".banner", "ended")
}

// testGuest has the grant view: what needs another one is not there.
func (s *stoker) testGuest(t *testing.T) {
	p := open(t, desktop, s.url)
	p.run(chromedp.Click("input[value=token]", chromedp.ByQuery))
	p.fill("#secret", s.guest)
	p.press("main", "Sign in")
	p.sees("main", "Services")
	p.sees("main", "Incidents")
	buttons := "[...document.querySelectorAll('main button')].map((b) => b.innerText).join()"
	if have := p.eval(buttons); have != "" {
		t.Errorf("buttons %s", have)
	}
	p.press("nav", "JVM")
	p.sees("main", "need the grant admin")
	p.press("nav", "Plugins")
	p.until("a switch that cannot be used", "document.querySelector('[role=switch]').disabled")
	p.press("nav", "Jobs")
	p.sees("main", "slots in use")
	if have := p.eval(buttons); have != "" {
		t.Errorf("buttons %s", have)
	}
	p.press("nav", "Shell")
	p.sees("main", "needs the grant exec")
}

// testLogs follows output that attacks terminals and browsers: it is text.
func (s *stoker) testLogs(t *testing.T) {
	p := open(t, desktop, s.ticketURL(t))
	p.press("main", "Logs of chatty")
	p.sees(".log", "line")
	p.sees(".log", `\e[31mred\e[0m \e]0;title\a \e]52;c;Y3VybCBldmls\a \e[2J\e[1;1H safe\revil \b\x9b \u202etxt.exe`)
	p.sees(".log", "<img src=x onerror=alert(1)><script>alert(2)</script>")
	if n := p.eval("document.querySelectorAll('.log img, .log script').length"); n != "0" {
		t.Errorf("%s elements came out of the log", n)
	}
	const hidden = `/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e]/`
	if bad := p.eval(hidden + ".test(document.querySelector('.log').textContent)"); bad != "false" {
		t.Error("there are control characters in the page")
	}
	p.fill(".logs input[type=search]", "line 1 ")
	p.eval("document.querySelector('.logs input[type=search]').oninput({target: {value: 'line 1 of'}})")
	p.until("one line", "document.querySelectorAll('.log .line').length === 1")
	p.screenshot("logs-filtered")
	p.eval("document.querySelector('.logs input[type=search]').oninput({target: {value: ''}})")
	p.press("main", "Pause")
	p.sees(".logs", "new lines")
	at := p.eval("document.querySelectorAll('.log .line').length")
	p.eval("new Promise((resolve) => setTimeout(resolve, 1200))")
	if now := p.eval("document.querySelectorAll('.log .line').length"); now != at {
		t.Errorf("%s lines before, and %s while it is paused", at, now)
	}
	p.press("main", "Pause")
	p.until("more lines", fmt.Sprintf("document.querySelectorAll('.log .line').length > %s", at))
	p.until("the end is visible", "((b) => b.scrollHeight - b.scrollTop - b.clientHeight < 30)(document.querySelector('.log'))")
	p.eval("document.querySelector('.logs').querySelectorAll('select')[1].onchange({target: {value: 'stderr'}})")
	p.until("stderr only", "[...document.querySelectorAll('.log .line')].every((l) => l.classList.contains('err'))")
}

func (s *stoker) testJVM(t *testing.T) {
	p := open(t, desktop, s.ticketURL(t))
	p.press("main", "JVM of tomcat")
	p.sees("main", "768 MiB in all")
	p.sees("main", "-Dstoker.demo=true")
	width := "document.querySelector(%q).getBoundingClientRect().width"
	if share := p.eval(fmt.Sprintf(width+" / "+width, ".budget .part", ".budget")); share < "0.4" || share > "0.6" {
		t.Errorf("the heap has %s of the picture, want half", share)
	}
	for name, text := range map[string]string{"Thread dump": "Full thread dump", "Histogram": "java.lang.String", "Flags": "MaxHeapSize",
		"Native memory": "Native Memory Tracking"} {
		p.press(".bar", name)
		p.sees("main section", name+" of tomcat")
		p.sees("main section pre", text)
	}
	p.press(".bar", "Heap dump")
	p.press("dialog", "Live objects")
	p.sees("main section pre", ".hprof")
	p.screenshot("jvm-heapdump")
	p.downloads("Download the dump", ".hprof", "JAVA PROFILE 1.0.2")
}

func (s *stoker) testPlugins(t *testing.T) {
	p := open(t, desktop, s.ticketURL(t))
	p.press("nav", "Plugins")
	p.press("main", "tracing")
	p.press("dialog", "Restart them later")
	p.sees("[data-key=tracing] .state", "active")
	p.sees("#notices", "tomcat")
	p.until("the switch is on", "document.querySelector('[data-key=tracing] [role=switch]').ariaChecked === 'true'")
	p.press("[data-key=tracing]", "Parameters (3)")
	p.fill("#param-tracing-level", "debug")
	p.press("[data-key=tracing]", "Save")
	p.press("dialog", "Restart them later")
	p.sees("[data-key=tracing]", "operator")
	p.press("[data-key=tracing]", "Run ping")
	p.sees("[data-key=tracing] pre", "pong")
	if list := s.tool("plugin", "show", "tracing"); !strings.Contains(list, "debug") {
		t.Errorf("stoker has: %s", list)
	}
	p.screenshot("plugins-changed")
	p.fill("#param-tracing-level", "loud")
	p.allow("422")
	p.press("[data-key=tracing]", "Save")
	p.press("dialog", "Restart them later")
	p.sees("#notices", "level")
	p.press("main", "tracing")
	p.press("dialog", "Restart them later")
	p.sees("[data-key=tracing]", "inactive")
}

func (s *stoker) testJobs(t *testing.T) {
	p := open(t, desktop, s.ticketURL(t))
	p.press("nav", "Jobs")
	p.fill("[name=command]", `sh -c 'echo "one two"; printf "\033[31mred\n" >&2; sleep 1; echo end; exit 3'`)
	p.press("main", "Run")
	p.sees(".detail", "FAILED")
	p.sees(".detail", "exit code 3")
	p.sees(".detail pre[aria-label='stdout of the job']", "one two\nend")
	p.sees(".detail pre[aria-label='stderr of the job']", `\e[31mred`)
	p.screenshot("job")
	p.fill("[name=command]", "sleep 1000")
	p.press("main", "Run")
	p.sees(".detail", "RUNNING")
	p.press(".detail", "Stop the job")
	p.sees(".detail", "KILLED")
	p.fill("[name=command]", "'unfinished")
	p.press("main", "Run")
	p.sees("#notices", "without its end")
}

// downloads presses a button, and wants a file with this end of its name and this beginning.
func (p *tab) downloads(name, end, begin string) {
	p.Helper()
	dir := p.TempDir()
	p.run(browser.SetDownloadBehavior(browser.SetDownloadBehaviorBehaviorAllow).WithDownloadPath(dir))
	p.press("main", name)
	for limit := time.Now().Add(patience); ; <-time.After(50 * time.Millisecond) {
		files, _ := filepath.Glob(filepath.Join(dir, "*"+end))
		if len(files) == 1 {
			if data, err := os.ReadFile(files[0]); err == nil && strings.HasPrefix(string(data), begin) {
				return
			}
		}
		if time.Now().After(limit) {
			p.Fatalf("no download %s: %v; notices: %s", end, files, p.text("#notices"))
		}
	}
}

// testFirstPaint measures how soon the page is there, and wants it to be painted at all: how busy the machine is decides the rest.
func (s *stoker) testFirstPaint(t *testing.T) {
	for range 3 {
		p := open(t, desktop, s.ticketURL(t))
		p.sees("main", "Services")
		var paint float64
		p.run(chromedp.Evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime", &paint))
		t.Logf("first contentful paint after %.0f ms, the services after %s ms", paint, p.eval("Math.round(performance.now())"))
	}
}

// testWeight adds up everything that the page can load.
func (s *stoker) testWeight(t *testing.T) {
	const limit = 200 << 10
	fetch := func(path string) (int, string) {
		req, _ := http.NewRequest(http.MethodGet, s.url+path, nil)
		req.Header.Set("Accept-Encoding", "gzip")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d, %v", path, resp.StatusCode, err)
		}
		n := len(body)
		if resp.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			body, _ = io.ReadAll(z)
		}
		return n, string(body)
	}
	total, index := fetch("/")
	links := regexp.MustCompile(`/assets/[^"]+`).FindAllString(index, -1)
	base := regexp.MustCompile(`/assets/[0-9a-f]+/`).FindString(index)
	for _, name := range []string{"xterm.mjs", "xterm.css", "addon-fit.mjs", "addon-search.mjs", "addon-unicode-graphemes.mjs"} {
		links = append(links, base+"npm/"+name)
	}
	own := total
	for _, link := range links {
		n, text := fetch(link)
		total += n
		if !strings.Contains(link, "/npm/") {
			own += n
			if found := regexp.MustCompile(`https?://[^\s"']+`).FindString(text); found != "" && !strings.Contains(found, "www.w3.org") {
				t.Errorf("%s has the address %s", link, found)
			}
		}
	}
	t.Logf("%d files, %.1f KiB, of which %.1f KiB are our own", len(links)+1, float64(total)/1024, float64(own)/1024)
	if total > limit {
		t.Errorf("the page has %d bytes, want at most %d", total, limit)
	}
}

// testKeyboard goes through the page by Tab alone.
func (s *stoker) testKeyboard(t *testing.T) {
	p := open(t, desktop, s.ticketURL(t))
	p.sees("main", "Services")
	focus := "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText ?? '').trim()"
	var order []string
	p.eval("document.activeElement.blur()")
	for range 12 {
		p.keys(kb.Tab)
		order = append(order, p.eval(focus))
	}
	want := "Skip to the content State Logs JVM Plugins Jobs Shell Menu Logs of chatty Shell beside chatty Restart chatty Stop chatty"
	if have := strings.Join(order, " "); have != want {
		t.Errorf("Tab goes to\n%s\nwant\n%s", have, want)
	}
	p.enter("")
	p.sees("dialog", "Stop chatty?")
	if have := p.eval(focus); have != "Cancel" {
		t.Errorf("Enter would press %s", have)
	}
	p.keys(kb.Escape)
	p.until("no dialog", "!document.querySelector('dialog')")
	p.until("the focus is back", focus+" === 'Stop chatty'")
}

// testLooks takes a picture of each view and runs axe on it.
func (s *stoker) testLooks(t *testing.T) {
	axe, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("the tests of the page need axe-core: run npm ci in tests/page: %v", err)
	}
	for _, v := range []view{desktop, {"dark", 1280, 720, false, true}, phone, {"phone-dark", 375, 667, true, true}} {
		t.Run(v.name, func(t *testing.T) {
			p := open(t, v, s.url)
			p.sees("main", "Sign in")
			p.axe(axe, "signin-"+v.name)
			p = open(t, v, s.ticketURL(t))
			p.sees("main", "Limits")
			p.axe(axe, "state-"+v.name)
			for _, name := range []string{"Logs", "JVM", "Plugins", "Jobs", "Shell"} {
				p.press("nav", name)
				p.until("loaded", "!document.querySelector('main').innerText.includes('Loading')")
				switch name {
				case "Jobs":
					p.fill("[name=command]", "echo hello")
					p.press("main", "Run")
					p.sees(".detail", "hello")
				case "Plugins":
					p.eval("document.querySelectorAll('details').forEach((d) => d.open = true)")
				case "Shell":
					p.axe(axe, "shell-new-"+v.name)
					p.press("main", "Open")
					p.sees(".banner", "Connected")
					p.enter("printf '\\033[1;32mgreen \\033[34mblue \\033[7mreverse\\033[0m 漢字 é 👩‍🚀\\n'")
					p.sees(".xterm-rows", "漢字")
				}
				p.axe(axe, strings.ToLower(name)+"-"+v.name)
			}
			p.press(".shell", "End")
			p.axe(axe, "dialog-"+v.name)
			p.press("dialog", "End")
			p.sees(".banner", "ended")
			p.press(".tabs", "All sessions")
			p.sees("#panel-sessions", "ended")
			p.axe(axe, "sessions-"+v.name)
			if wide := p.eval("document.documentElement.scrollWidth > innerWidth"); wide != "false" {
				t.Error("the page is wider than the window")
			}
		})
	}
}

// axe looks for faults of accessibility, and takes a picture.
func (p *tab) axe(script []byte, name string) {
	p.Helper()
	p.screenshot(name)
	p.eval("typeof axe === 'undefined' && (() => {" + string(script) + "})()")
	var result []struct {
		ID, Help string
		Nodes    []struct {
			HTML           string
			FailureSummary string
		}
	}
	text := p.eval("axe.run({resultTypes: ['violations']}).then((r) => JSON.stringify(r.violations))")
	if err := json.Unmarshal([]byte(text), &result); err != nil {
		p.Fatalf("axe: %v: %s", err, text)
	}
	for _, v := range result {
		for _, node := range v.Nodes {
			p.Errorf("%s: %s (%s): %s\n%s", name, v.ID, v.Help, node.HTML, node.FailureSummary)
		}
	}
}

// chord presses a key with Ctrl and Shift.
func (p *tab) chord(key string, code int64) {
	p.Helper()
	for _, kind := range []input.KeyType{input.KeyDown, input.KeyUp} {
		p.run(input.DispatchKeyEvent(kind).WithModifiers(input.ModifierCtrl | input.ModifierShift).WithKey(key).WithWindowsVirtualKeyCode(code))
	}
}
