package page_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// shell opens a page with a shell in it.
func (s *stoker) shell(t *testing.T) *tab {
	t.Helper()
	p := open(t, desktop, s.ticketURL(t))
	p.press("nav", "Shell")
	p.press("main", "Open")
	p.sees(".shell:not([hidden]) .banner", "Connected")
	return p
}

const screen = ".shell:not([hidden]) .xterm-rows"

// testShell types, resizes, reloads and resumes.
func (s *stoker) testShell(t *testing.T) {
	p := s.shell(t)
	p.enter("echo $((6*7)); tty")
	p.sees(screen, "42")
	p.sees(screen, "/dev/pts/")
	p.enter("stty size")
	rows := p.eval("document.querySelector('.xterm-rows').children.length")
	p.sees(screen, rows+" ")
	p.run(chromedp.EmulateViewport(900, 500))
	p.until("fewer rows", fmt.Sprintf("document.querySelector('.xterm-rows').children.length < %s", rows))
	p.enter("clear; stty size")
	p.until("the process knows", "((rows) => rows.innerText.includes(rows.children.length + ' '))(document.querySelector('.xterm-rows'))")
	p.run(chromedp.EmulateViewport(1280, 720))

	p.enter("clear; X=kept; echo before $X")
	p.sees(screen, "before kept")
	// A question of the process to the terminal: a replay must not answer it again.
	p.enter(`printf '\033[6n\033[c'; sleep 0.3; echo asked`)
	p.sees(screen, "asked")
	p.keys("\x03")
	p.enter("")
	p.run(chromedp.Reload())
	p.sees(".banner", "Connected")
	p.sees(screen, "before kept")
	p.enter("clear")
	p.enter("echo after $X")
	p.sees(screen, "after kept")
	if text := p.text(screen); strings.Contains(text, "not found") || strings.Contains(text, "[?") || strings.Contains(text, ";1R") {
		t.Errorf("the replay was answered: %s", text)
	}
	p.flood()
	p.search()
	p.hostile()
	p.signals()

	p.press("nav", "State")
	p.sees("main", "Services")
	p.press("nav", "Shell")
	p.enter("clear; echo again $X")
	p.sees(screen, "again kept")
	p.press(".shell:not([hidden])", "Text")
	p.sees("dialog", "again kept")
	p.press("dialog", "Cancel")
	p.until("no dialog", "!document.querySelector('dialog')")
	p.run(chromedp.Focus(".shell:not([hidden]) textarea", chromedp.ByQuery))
	p.chord("ArrowUp", 38)
	p.until("the chord leaves", "document.activeElement.role === 'tab' || document.activeElement.getAttribute('role') === 'tab'")
	p.run(chromedp.Focus(".shell:not([hidden]) textarea", chromedp.ByQuery))
	p.enter("exit 7")
	p.sees(".banner", "exit code 7")
}

// flood writes more than the window of acknowledgements, and ends it.
func (p *tab) flood() {
	p.Helper()
	p.enter("clear; seq 1 300000 | tail -c 1500000; echo flood is over")
	p.sees(screen, "flood is over")
	p.enter("clear; yes")
	p.sees(screen, "y\ny")
	from := time.Now()
	p.keys("\x03")
	p.enter("clear; echo stopped")
	p.sees(screen, "stopped")
	p.Logf("^C ended a flood after %v", time.Since(from).Round(10*time.Millisecond))
}

func (p *tab) search() {
	p.Helper()
	p.enter("clear; seq 1 500; echo needle-$((1+1)); seq 1 500; echo end-$((1+1))")
	p.sees(screen, "end-2")
	p.chord("F", 70)
	p.until("the search is there", "document.activeElement.name === 'text'")
	p.enter("needle-2")
	p.sees(screen, "needle-2")
	p.press(".shell:not([hidden]) .find", "Close")
}

// hostile output must not reach the clipboard, the page or the input.
func (p *tab) hostile() {
	p.Helper()
	p.eval("window.reads = 0; navigator.clipboard && (navigator.clipboard.readText = async () => { window.reads++; return 'evil'; })")
	p.enter(`clear; printf '\033]52;c;?\007\033]52;c;ZXZpbA==\007\033[21t\033[8;2;2t\033[18t\033]0;<b>title\007'; ` +
		`sleep 0.3; echo done hostile`)
	p.sees(screen, "done hostile")
	if text := p.text(screen); strings.Contains(text, "evil") || p.eval("window.reads") != "0" {
		p.Errorf("the output read the clipboard, or typed: %s", text)
	}
	if size := p.eval("document.querySelector('.xterm-rows').children.length"); size == "2" {
		p.Error("the output changed the size of the terminal")
	}
	p.sees(".tabs", "<b>title")
	p.enter(`clear; printf '\033[38;2;255;255;254;48;2;250;250;250mpale\033[0m\n'`)
	p.sees(screen, "pale")
	pale := "[...document.querySelectorAll('.xterm-rows span')].find((s) => s.innerText.includes('pale') && s.style.color)"
	p.until("a colour", "!!"+pale)
	if colour := p.eval("getComputedStyle(" + pale + ").color"); colour == "rgb(255, 255, 254)" {
		p.Error("a text that cannot be read keeps its colour")
	}
	p.enter(`clear; printf '\033]8;;https://example.org/\033\\a link\033]8;;\033\\\n'`)
	p.sees(screen, "link")
	link := "document.querySelector('.shell:not([hidden]) .xterm-rows > div').getBoundingClientRect()"
	var x, y float64
	p.run(chromedp.Evaluate(link+".x + 20", &x), chromedp.Evaluate(link+".y + 6", &y))
	pointed := ""
	for end := time.Now().Add(patience); pointed != "true" && time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		p.run(input.DispatchMouseEvent(input.MouseMoved, x+100, y+100), input.DispatchMouseEvent(input.MouseMoved, x, y))
		pointed = p.eval("!!document.querySelector('.shell:not([hidden]) .xterm-cursor-pointer')")
	}
	for _, kind := range []input.MouseType{input.MousePressed, input.MouseReleased} {
		p.run(input.DispatchMouseEvent(kind, x, y).WithButton(input.Left).WithClickCount(1))
	}
	p.sees("dialog", "https://example.org/")
	p.press("dialog", "Cancel")
}

func (p *tab) signals() {
	p.Helper()
	p.enter("clear; sh -c 'echo begun-$$; exec sleep 1000'; echo ended $?")
	p.until("the process", "/begun-[0-9]/.test(document.querySelector('.shell:not([hidden]) .xterm-rows').innerText)")
	p.eval(`((s) => { s.value = 'TERM'; s.onchange({target: s}); })(document.querySelector('.shell:not([hidden]) .bar select'))`)
	p.sees(screen, "ended 143")
}

// testSharing has two pages at one session.
func (s *stoker) testSharing(t *testing.T) {
	first := s.shell(t)
	first.enter("echo shared screen")
	first.sees(screen, "shared screen")
	second := open(t, view{"small", 800, 600, false, false}, s.ticketURL(t))
	second.press("nav", "Shell")
	second.press(".tabs", "All sessions")
	second.sees("#panel-sessions", "running")
	second.eval("[...document.querySelectorAll('#panel-sessions button')].find((b) => b.innerText === 'Watch').click()")
	second.sees(".shell:not([hidden]) .banner", "Read-only")
	second.sees(screen, "shared screen")
	first.sees(".banner", "1 watching")
	second.enter("echo not typed")
	second.until("all of it fits", "((s) => s.clientHeight > 100 && s.clientHeight <= s.closest('.termbox').clientHeight)"+
		"(document.querySelector('.shell:not([hidden]) .xterm-screen'))")
	second.screenshot("watching")
	second.press(".shell:not([hidden]) .banner", "Take over")
	second.sees(".shell:not([hidden]) .banner", "Connected")
	first.sees(".banner", "has taken the keyboard")
	first.screenshot("taken")
	second.enter("echo from the second")
	second.sees(screen, "from the second")
	if text := second.text(screen); strings.Contains(text, "not typed") {
		t.Errorf("a viewer has typed: %s", text)
	}
	first.press(".banner", "Watch")
	first.sees(screen, "from the second")
	first.press(".banner", "Take over")
	first.sees(".banner", "Connected")
	second.sees(".shell:not([hidden]) .banner", "has taken the keyboard")
	first.enter("exit")
	first.sees(".banner", "ended")
	first.press(".tabs", "All sessions")
	first.sees("#panel-sessions", "ended")
	first.downloads("Recording: /bin/sh by uid 0", ".cast", `{"version":2`)
}

// testRefused opens what cannot be opened: the page says why.
func (s *stoker) testRefused(t *testing.T) {
	p := open(t, desktop, s.ticketURL(t))
	p.press("nav", "Shell")
	for command, why := range map[string]string{"/no/such/program": "no such file", "/bin/sh": "nobody-here"} {
		p.press(".tabs", "+ New")
		p.fill("#panel-new [name=command]", command)
		p.fill("#panel-new [name=user]", map[bool]string{true: "nobody-here"}[command == "/bin/sh"])
		p.press("main", "Open")
		p.sees(".shell:not([hidden]) .banner", why)
		p.screenshot("refused" + strings.ReplaceAll(command, "/", "-"))
		p.press(".shell:not([hidden]) .banner", "Close")
	}
}

// testReader has the mode for screen readers: the terminal is text for them.
func (s *stoker) testReader(t *testing.T) {
	p := s.shell(t)
	p.press("#menu", "Menu")
	p.eval("document.querySelector('#menu input[type=checkbox]').click()")
	p.run(chromedp.Focus(".shell:not([hidden]) textarea", chromedp.ByQuery))
	p.enter("echo for readers")
	p.sees(".shell:not([hidden]) .xterm-accessibility", "for readers")
	p.enter("exit")
	p.sees(".banner", "ended")
}

// testSupervisor kills the supervisor below a session: the page goes on by itself.
func (s *stoker) testSupervisor(t *testing.T) {
	p := s.shell(t)
	p.enter("X=alive; echo $X")
	p.sees(screen, "alive")
	p.allow("WebSocket connection")
	p.allow("ERR_")
	out, err := exec.Command("pgrep", "-o", "-P", fmt.Sprint(s.pid), "-x", "stoker").Output()
	if err != nil {
		t.Fatalf("no supervisor: %v", err)
	}
	if err := exec.Command("kill", "-KILL", strings.TrimSpace(string(out))).Run(); err != nil {
		t.Fatal(err)
	}
	p.sees(".banner", "lost")
	p.sees(".banner", "Connected")
	p.enter("clear; echo still $X")
	p.sees(screen, "still alive")
	p.press("nav", "State")
	p.sees("[data-key=tomcat]", "RUNNING")
	p.press("nav", "JVM")
	p.sees("main", "metaspace") // of a JVM that the supervisor before has started
	p.press("nav", "Shell")
	p.enter("exit")
	p.sees(".banner", "ended")
}

// testOffline takes the network away for a while: the page says so, and goes on by itself.
func (s *stoker) testOffline(t *testing.T) {
	p := s.shell(t)
	p.enter("X=here; echo $X")
	p.sees(screen, "here")
	p.allow("ERR_INTERNET_DISCONNECTED")
	p.allow("WebSocket")
	p.run(network.Enable(), network.EmulateNetworkConditions(true, 0, -1, -1))
	p.sees("#outage", "no connection to stoker")
	p.screenshot("offline")
	p.run(network.EmulateNetworkConditions(false, 0, -1, -1))
	p.until("the page is back", "document.querySelector('#outage').innerText === ''")
	p.sees(".banner", "Connected")
	p.enter("clear; echo back $X")
	p.sees(screen, "back here")
	p.enter("exit")
	p.sees(".banner", "ended")
}

// testTabs has two shells, over a reload too: the one that was hidden gets its size when it is shown.
func (s *stoker) testTabs(t *testing.T) {
	p := s.shell(t)
	p.enter("X=first; echo $X")
	p.sees(screen, "first")
	p.press(".tabs", "+ New")
	p.press("main", "Open")
	p.sees(".shell:not([hidden]) .banner", "Connected")
	p.enter("X=second; echo $X")
	p.sees(screen, "second")
	p.run(chromedp.Reload())
	p.sees(".shell:not([hidden]) .banner", "Connected")
	p.sees(screen, "second")
	p.eval("document.querySelector('.tabs [role=tab]').click()")
	p.sees(screen, "first")
	p.enter("clear; stty size; echo $X-again")
	p.sees(screen, "first-again")
	if size := p.text(screen); strings.HasPrefix(strings.TrimSpace(size), "24 80") {
		t.Errorf("the hidden shell has still the size %s", size)
	}
	p.eval(`(() => {
		const data = new DataTransfer();
		data.setData('text/plain', 'echo pasted $X');
		const paste = new ClipboardEvent('paste', {clipboardData: data, bubbles: true});
		document.querySelector('.shell:not([hidden]) textarea').dispatchEvent(paste);
	})()`)
	p.enter("")
	p.sees(screen, "pasted first")
	p.clipboard()
	p.enter("exit")
	p.sees(".shell:not([hidden]) .banner", "ended")
	p.press(".shell:not([hidden]) .banner", "Close")
	p.sees(screen, "second")
	p.press(".shell:not([hidden])", "Detach")
	p.until("no tab", "document.querySelectorAll('.tabs [role=tab]').length === 2")
	p.press(".tabs", "All sessions")
	p.press("#panel-sessions", "Attach: /bin/sh by uid 0")
	p.sees(screen, "second")
	p.enter("exit")
	p.sees(".shell:not([hidden]) .banner", "ended")
}

// testTouch has the keys that a phone lacks.
func (s *stoker) testTouch(t *testing.T) {
	p := open(t, phone, s.ticketURL(t))
	p.press("nav", "Shell")
	p.press("main", "Open")
	p.sees(".shell:not([hidden]) .banner", "Connected")
	const keys = ".shell:not([hidden]) .keys"
	for _, mode := range []struct{ set, want string }{{"l", "^[[A"}, {"h", "^[OA"}} {
		p.enter(`clear; printf '\033[?1` + mode.set + `'; echo be''gun-` + mode.set + `; cat`)
		p.sees(screen, "begun-"+mode.set+"\n")
		p.press(keys, "↑")
		p.sees(screen, mode.want)
		p.press(keys, "^C")
		p.until("the prompt", "/[#$]\\s*$/.test(document.querySelector('"+screen+"').innerText)")
	}
	p.enter("echo status $?")
	p.sees(screen, "status 130")
	p.press(keys, "^D")
	p.sees(".shell:not([hidden]) .banner", "ended")
}

// clipboard uses the buttons: what is copied of the terminal is in the browser's clipboard, and what is there is typed.
func (p *tab) clipboard() {
	p.Helper()
	p.run(browser.GrantPermissions([]browser.PermissionType{browser.PermissionTypeClipboardReadWrite,
		browser.PermissionTypeClipboardSanitizedWrite}), emulation.SetFocusEmulationEnabled(true))
	p.press(".shell:not([hidden]) .bar", "Copy")
	p.sees("#notices", "nothing is selected")
	p.enter("clear; echo to copy: 漢字")
	p.until("the output", "/\\nto copy: 漢字|^to copy: 漢字/.test(document.querySelector('"+screen+"').innerText)")
	p.press(".shell:not([hidden]) .bar", "Text")
	p.press("dialog", "Copy")
	p.sees("#notices", "copied")
	if text := p.eval("navigator.clipboard.readText()"); !strings.Contains(text, "to copy: 漢字") {
		p.Errorf("the clipboard has %q", text)
	}
	p.eval("navigator.clipboard.writeText('echo from the $((1+1))nd clip')")
	p.press(".shell:not([hidden]) .bar", "Paste")
	p.sees(screen, "clip")
	p.enter("")
	p.sees(screen, "from the 2nd clip")
}
