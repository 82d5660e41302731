package plugin

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// CheckRequires says what is wrong with a condition on stoker's version.
func CheckRequires(condition string) error {
	_, err := satisfies("0", condition)
	return err
}

// meets says whether a version fulfils a condition such as ">=0.5, <2". A version
// that is no release (dev, a git describe) fulfils every condition.
func satisfies(version, condition string) (bool, error) {
	have, release := parseVersion(version)
	for part := range strings.SplitSeq(condition, ",") {
		part = strings.TrimSpace(part)
		if part == "" && condition == "" {
			return true, nil
		}
		m := regexp.MustCompile(`^(>=|<=|>|<|=)?\s*(\S+)$`).FindStringSubmatch(part)
		if m == nil {
			return false, fmt.Errorf("%q is no condition: write >=0.5", part)
		}
		want, ok := parseVersion(m[2])
		if !ok {
			return false, fmt.Errorf("%q is no version: write >=0.5", m[2])
		}
		if !release {
			continue
		}
		order := slices.Compare(have, want)
		fits := map[string]bool{">=": order >= 0, "<=": order <= 0, ">": order > 0, "<": order < 0, "=": order == 0}
		if !fits[cmp.Or(m[1], ">=")] {
			return false, nil
		}
	}
	return true, nil
}

// parseVersion reads "1.2.3" or "v1.2"; what is missing is 0. false: it is no release.
func parseVersion(text string) ([]int, bool) {
	m := regexp.MustCompile(`^v?(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?$`).FindStringSubmatch(text)
	if m == nil {
		return nil, false
	}
	out := make([]int, 3)
	for k := range out {
		out[k], _ = strconv.Atoi(cmp.Or(m[k+1], "0")) // they are digits
	}
	return out, true
}
