package hooks

import (
	"fmt"
	"strconv"
	"strings"
)

// Policy is what follows when a hook fails.
type Policy struct {
	Retries int  // further tries
	Fail    bool // what waits for it fails; else its failure is only told
}

// maxRetries bounds Policy.Retries: who wants more wants a service.
const maxRetries = 100

// ParsePolicy reads "ignore", "fail", "retry N" or "retry N, fail". Empty is ignore.
func ParsePolicy(text string) (Policy, error) {
	first, second, two := strings.Cut(text, ",")
	first, second = strings.TrimSpace(first), strings.TrimSpace(second)
	switch {
	case !two && (first == "ignore" || text == ""):
		return Policy{}, nil
	case !two && first == "fail":
		return Policy{Fail: true}, nil
	}
	number, isRetry := strings.CutPrefix(first, "retry ")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	switch {
	case !isRetry || err != nil, two && second != "fail" && second != "ignore":
		return Policy{}, fmt.Errorf("%q is not ignore, fail, retry N, or retry N, fail", text)
	case n < 1 || n > maxRetries:
		return Policy{}, fmt.Errorf("%d is not a number of tries from 1 to %d", n, maxRetries)
	}
	return Policy{Retries: n, Fail: second == "fail"}, nil
}
