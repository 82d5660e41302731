package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/freeport"
)

// heavyJars is how many libraries the large application has.
const heavyJars = 100

// application is what Tomcat runs while its start is measured.
type application struct {
	name  string
	heavy bool
}

// makeHeavy adds a listener to the demo application that loads classes of Debian's Java libraries.
func (t tomcatBase) makeHeavy() error {
	all, err := filepath.Glob("/usr/share/java/*.jar")
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	var jars []string
	for _, jar := range all {
		file, err := filepath.EvalSymlinks(jar)
		name := filepath.Base(file)
		isTomcats := strings.HasPrefix(name, "tomcat") || strings.HasPrefix(name, "catalina") || strings.HasPrefix(name, "jasper")
		if err != nil || seen[file] || isTomcats {
			continue
		}
		seen[file] = true
		jars = append(jars, file)
	}
	slices.Sort(jars)
	if len(jars) < heavyJars {
		return fmt.Errorf("cannot measure a large application: %d libraries in /usr/share/java, %d are needed", len(jars), heavyJars)
	}
	path := strings.Join(jars[:heavyJars], ":")
	const script = `set -e
mkdir -p "$2/webapps/app/WEB-INF/classes"
javac --release 11 -cp "$(echo "$1"/lib/*.jar | tr ' ' :)" -d "$2/webapps/app/WEB-INF/classes" bench/heavy/Heavy.java
sed -i 's|</web-app>|<listener><listener-class>Heavy</listener-class></listener></web-app>|' "$2/webapps/app/WEB-INF/web.xml"
printf 'CLASSPATH=%s\nCATALINA_OPTS="$CATALINA_OPTS -Dheavy.jars=%s"\n' "$3" "$3" >"$2/bin/setenv.sh"`
	return output(exec.Command("sh", "-c", script, "sh", t.home, t.path, path))
}

// archiveConfig is the configuration in which a start is measured; use is jvm.archive.
func (t tomcatBase) archiveConfig(dir, archives, jdk, use string) string {
	text := t.stokerConfig(dir, "")
	if jdk != "" {
		text = strings.Replace(text, "tomcat: {home:", fmt.Sprintf("tomcat: {java: %s/bin/java, home:", jdk), 1)
	}
	return text + fmt.Sprintf("jvm: {archive: %s, archive_dir: %s}\n", use, archives)
}

// startTime returns the milliseconds from the launch of stoker to the first answer.
func (b *bench) startTime(t tomcatBase, config func(dir string) string) (float64, error) {
	x, launched, err := b.open(peer{name: stokerName, program: b.peers[0].program, args: func(dir string, _ []service) ([]string, error) {
		path := filepath.Join(dir, "stoker.yaml")
		return []string{"run", "--config", path}, os.WriteFile(path, []byte(config(dir)), 0o600)
	}}, func(string) []service { return nil })
	if err != nil {
		return 0, err
	}
	defer x.close()
	if err := awaitTomcat(t, time.Minute); err != nil {
		return 0, fmt.Errorf("%w; the output ends with %q", err, x.tail())
	}
	return float64(monotonic()-launched) / 1e6, nil
}

// archiveTimes measures the starts of an application without and with an archive, in turn.
func (b *bench) archiveTimes(app application, rounds int) (without, with []float64, err error) {
	port, reserved, err := freeport.Reserve()
	if err != nil {
		return nil, nil, err
	}
	defer reserved.Close()
	t, err := b.newTomcatBase(port)
	if err == nil && app.heavy {
		err = t.makeHeavy()
	}
	if err != nil {
		return nil, nil, err
	}
	archives := filepath.Join(t.path, "archives")
	config := filepath.Join(t.path, "archive.yaml")
	if err := os.WriteFile(config, []byte(t.archiveConfig(t.path, archives, b.jdk, "auto")), 0o600); err != nil {
		return nil, nil, err
	}
	if err := output(exec.Command(b.peers[0].program, "jvm", "archive", "--config", config, "tomcat")); err != nil {
		return nil, nil, err
	}
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "archive, %s: round %d of %d\n", app.name, round+1, rounds)
		for use, times := range map[string]*[]float64{"off": &without, "require": &with} {
			took, err := b.startTime(t, func(dir string) string { return t.archiveConfig(dir, archives, b.jdk, use) })
			if err != nil {
				return nil, nil, fmt.Errorf("with archive: %s: %w", use, err)
			}
			*times = append(*times, took)
		}
	}
	return without, with, nil
}

// archive measures the start of Tomcat without and with a class archive.
func (b *bench) archive() (string, error) {
	if len(b.peers) == 0 || b.peers[0].name != stokerName {
		return "", nil
	}
	rounds := max(3, b.rounds*2/3)
	java := "java"
	if b.jdk != "" {
		java = filepath.Join(b.jdk, "bin/java")
	}
	version, err := exec.Command(java, "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cannot run %s: %w", java, err)
	}
	first, _, _ := strings.Cut(string(version), "\n")
	var out strings.Builder
	fmt.Fprintf(&out, "\nTomcat under stoker, launch to the first answer (ms), %s; medians of %d starts.\n\n"+
		"| application | goal | without | with an archive | ratio |\n|---|---|---:|---:|---:|\n", first, rounds)
	for _, app := range []application{{"the demo", false}, {fmt.Sprintf("%d libraries on the class path", heavyJars), true}} {
		without, with, err := b.archiveTimes(app, rounds)
		if err != nil {
			return "", err
		}
		a, _ := median(without)
		w, _ := median(with)
		fmt.Fprintf(&out, "| %s | <= 0.66x | %s | %s | %.2fx |\n", app.name, figure(a), figure(w), w/a)
	}
	return out.String(), nil
}
