package suggest

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"status", "start", "stop", "success_codes", "restart"}
	for got, want := range map[string]string{
		"staus": "status", "sttatus": "status", "STATUS": "status", "sotp": "stop", "restrat": "restart",
		"successCodes": "success_codes", "success-codes": "success_codes",
		"": "", "x": "", "logs": "", "supercalifragilistic": "",
	} {
		if word, ok := Nearest(got, known); word != want || ok != (want != "") {
			t.Errorf("%q is taken for %q, %v; want %q", got, word, ok, want)
		}
	}
}

func TestHint(t *testing.T) {
	for got, want := range map[string]string{"wbe": "did you mean web? there are: web, db", "nothing": "there are: web, db"} {
		if hint := Hint(got, []string{"web", "db"}); hint != want {
			t.Errorf("%s: %q, want %q", got, hint, want)
		}
	}
}

func FuzzNearest(f *testing.F) {
	f.Add("staus", "status")
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a)+len(b) > 2*maxWord {
			return
		}
		if d := Distance(a, b); d != Distance(b, a) || d > max(len(a), len(b)) || (d == 0) != (a == b) {
			t.Errorf("distance of %q and %q is %d", a, b, d)
		}
	})
}
