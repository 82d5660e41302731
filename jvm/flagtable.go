package jvm

import _ "embed"

// flagTable lists the -XX flags of buildsListed on Linux and x86_64, as -XX:+PrintFlagsFinal prints
// them with both unlock flags. A line begins with their type, and with a letter for each build: absent
// (-), product, diagnostic or experimental. TestFlagTable makes it of the lists in testdata.
//
//go:embed flagtable.txt
var flagTable string

// otherFlags are in none of these builds: flags of the port to aarch64, of vendors' own builds (CRaC,
// Dragonwell, SapMachine, Kona), and another name of CreateCoredumpOnCrash.
//
//go:embed flagtable_other.txt
var otherFlags string

// flagsOfCMS are the names of a collector's flags that went in 14.
//
//go:embed flagtable_cms.txt
var flagsOfCMS string

// flagsBefore17 are other flags of older or other builds of Java 8 that 17 rejects.
//
//go:embed flagtable_before17.txt
var flagsBefore17 string
