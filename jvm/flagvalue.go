package jvm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// misspelt tells why HotSpot would reject how a flag is written; empty: it would
// not.
func (f flagFacts) misspelt(arg string) string {
	name, form, value := cutFlag(arg)
	switch {
	case f.typ == anyFlag:
		return ""
	case f.typ == boolFlag && (form == "=" || form == ""):
		return fmt.Sprintf("it is switched with + or -, such as -XX:+%s", name)
	case f.typ == boolFlag && strings.Contains(arg, "="):
		return "a flag with + or - has no value"
	case f.typ == boolFlag:
		return ""
	case form != "=":
		return fmt.Sprintf("it needs a value: -XX:%s=VALUE", name)
	}
	return f.badValue(name, value)
}

// badValue checks a value by the flag's type and range.
func (f flagFacts) badValue(name, value string) string {
	number := 0.0
	if quoted(value) && f.typ != textFlag && f.typ != listFlag {
		return "the quotes are part of the value; leave them out"
	}
	switch f.typ {
	case intFlag, countFlag:
		n, err := sizeOf(strings.TrimPrefix(value, "-"))
		if _, err64 := strconv.ParseUint(value, 10, 64); err != nil && err64 == nil {
			return "" // all ones, as -XX:+PrintFlagsFinal writes "unlimited"
		}
		if err != nil {
			return fmt.Sprintf("%q is no whole number", value)
		}
		number = float64(n)
		if value[0] == '-' {
			number = -number
		}
		if number < 0 && f.typ == countFlag {
			return "the value cannot be negative"
		}
	case floatFlag:
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Sprintf("%q is no number", value)
		}
		number = n
	default:
		return ""
	}
	for _, r := range flagRanges {
		if (number < r.least || number > r.most) && slices.Contains(strings.Fields(r.flags), name) {
			return fmt.Sprintf("the value is from %g to %g", r.least, r.most)
		}
	}
	return ""
}

const unlimited = 1 << 62

// flagRanges are those of flags that people set, from -XX:+PrintFlagsRanges: what every version allows, and 17 and 25
// no more.
var flagRanges = []struct {
	least, most float64
	flags       string
}{
	{0, 100, "MaxRAMPercentage MinRAMPercentage InitialRAMPercentage MinHeapFreeRatio MaxHeapFreeRatio MaxMetaspaceFreeRatio " +
		"InitiatingHeapOccupancyPercent G1HeapWastePercent G1NewSizePercent G1MaxNewSizePercent TargetSurvivorRatio"},
	{0, 99, "MinMetaspaceFreeRatio"}, {0, 50, "G1ReservePercent"}, {0, 16, "MaxTenuringThreshold"}, {0, 4, "TieredStopAtLevel"},
	{1, unlimited, "MaxRAMFraction MinRAMFraction InitialRAMFraction SurvivorRatio CICompilerCount"},
	{0, unlimited, "MaxDirectMemorySize MaxMetaspaceSize"},
}
