package jvm

import (
	"fmt"
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
		if r.name == name && (number < r.least || number > r.most) {
			return fmt.Sprintf("the value is from %g to %g", r.least, r.most)
		}
	}
	return ""
}

// flagRange is what every version allows for a flag, and 17 and 25 no more.
type flagRange struct {
	name        string
	least, most float64
}

// manyTimes bounds nothing.
const manyTimes = 1 << 62

// flagRanges are those of flags that people set, from -XX:+PrintFlagsRanges.
var flagRanges = []flagRange{
	{"MaxRAMPercentage", 0, 100}, {"MinRAMPercentage", 0, 100}, {"InitialRAMPercentage", 0, 100},
	{"MaxRAMFraction", 1, manyTimes}, {"MinRAMFraction", 1, manyTimes}, {"InitialRAMFraction", 1, manyTimes},
	{"MinHeapFreeRatio", 0, 100}, {"MaxHeapFreeRatio", 0, 100},
	{"MinMetaspaceFreeRatio", 0, 99}, {"MaxMetaspaceFreeRatio", 0, 100},
	{"InitiatingHeapOccupancyPercent", 0, 100}, {"G1ReservePercent", 0, 50}, {"G1HeapWastePercent", 0, 100},
	{"G1NewSizePercent", 0, 100}, {"G1MaxNewSizePercent", 0, 100},
	{"SurvivorRatio", 1, manyTimes}, {"TargetSurvivorRatio", 0, 100}, {"MaxTenuringThreshold", 0, 16},
	{"TieredStopAtLevel", 0, 4}, {"CICompilerCount", 1, manyTimes},
	{"MaxDirectMemorySize", 0, manyTimes}, {"MaxMetaspaceSize", 0, manyTimes},
}
