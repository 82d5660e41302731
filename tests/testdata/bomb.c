// A process that forks for ever, in ways that are hard to stop. The letters of its
// argument: s a session of its own for each, d each is an orphan at once, t TERM is
// ignored, e it executes itself with an empty environment and no open file, z it stops
// itself, k it kills whatever of stoker's it can.
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <unistd.h>

static int has(const char *how, char c) { return strchr(how, c) != NULL; }

static void kill_stoker(void) {
	for (int pid = 2; pid < 2000; pid++) {
		char path[64], name[16] = "";
		snprintf(path, sizeof path, "/proc/%d/comm", pid);
		FILE *f = fopen(path, "r");
		if (!f) continue;
		if (fgets(name, sizeof name, f) && strncmp(name, "stoker", 6) == 0) kill(pid, SIGKILL);
		fclose(f);
	}
}

int main(int argc, char **argv) {
	const char *how = argc > 1 ? argv[1] : "";
	int leader = argc < 3;
	if (has(how, 't')) { signal(SIGTERM, SIG_IGN); signal(SIGINT, SIG_IGN); signal(SIGHUP, SIG_IGN); }
	for (unsigned n = 0;; n++) {
		pid_t pid = fork();
		if (pid < 0) { usleep(1000); if (has(how, 'k') && n % 16 == 0) kill_stoker(); continue; }
		if (pid > 0) {
			if (has(how, 'd') && !leader && n % 2) _exit(0); // its children have no parent now
			if (leader) usleep(1000);
			continue;
		}
		leader = 0;
		if (has(how, 's')) setsid();
		if (has(how, 'd') && fork() > 0) _exit(0);
		if (has(how, 'z') && n % 4 == 3) raise(SIGSTOP);
		if (has(how, 'e')) {
			for (int fd = 0; fd < 64; fd++) close(fd);
			char *args[] = {argv[0], (char *)how, "child", NULL}, *env[] = {NULL};
			execve(argv[0], args, env);
		}
	}
}
