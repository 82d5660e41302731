package service

import (
	"strings"
	"testing"
)

func TestEnviron(t *testing.T) {
	list := []string{"A=1", "B=x=y", "A=2", "NOVALUE", "C="}
	if got := strings.Join(EnvironList(EnvironMap(list)), " "); got != "A=2 B=x=y C=" {
		t.Errorf("%q", got)
	}
}
