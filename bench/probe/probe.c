/*
 * The service that is measured, and the launcher of what measures it. Small and
 * static, so that its own start costs next to nothing.
 *
 *   probe service FIFO NAME   say that NAME lives, then wait to be killed
 *   probe orphans FIFO COUNT  leave COUNT orphans to PID 1, say so, then wait
 *   probe lines FIFO MIB      write so much in whole lines of 100 bytes to stdout, say when
 *                             it begins and ends, then wait
 *   probe launch FIFO CMD...  in a new PID namespace: mount /proc, say that CMD
 *                             is about to be executed, execute it
 *   run                       (a name that s6 and runit give) the same as
 *                             service, with FIFO from $BENCH_FIFO and the
 *                             name of the current folder
 *
 * To say is to write "NAME NANOSECONDS" of CLOCK_MONOTONIC to FIFO as one line.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void say(const char *fifo, const char *name, long long at)
{
	char line[256];
	int n = snprintf(line, sizeof line, "%s %lld\n", name, at);
	int fd = open(fifo, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, line, n) != n)
		_exit(111);
	close(fd);
}

static void wait_for_ever(void)
{
	for (;;)
		pause();
}

static void orphan(void)
{
	pid_t middle = fork();

	if (middle == 0) {
		if (fork() == 0)
			_exit(0);
		_exit(0);
	}
	waitpid(middle, NULL, 0);
}

static int launch(const char *fifo, char **command)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) {
		perror("probe: cannot mount /proc");
		return 111;
	}
	say(fifo, "launch", now());
	execvp(command[0], command);
	perror(command[0]);
	return 111;
}

int main(int argc, char **argv)
{
	long long born = now();
	const char *base = strrchr(argv[0], '/');

	if (!strcmp(base ? base + 1 : argv[0], "run")) {
		const char *fifo = getenv("BENCH_FIFO");
		char folder[4096];

		if (!fifo || !getcwd(folder, sizeof folder))
			return 111;
		say(fifo, strrchr(folder, '/') + 1, born);
		wait_for_ever();
	}
	if (argc == 4 && !strcmp(argv[1], "service")) {
		say(argv[2], argv[3], born);
		wait_for_ever();
	}
	if (argc == 4 && !strcmp(argv[1], "orphans")) {
		int count = atoi(argv[3]);

		say(argv[2], "begin", now());
		/* The reader takes its first figures meanwhile. */
		sleep(1);
		for (int i = 0; i < count; i++)
			orphan();
		say(argv[2], "end", now());
		wait_for_ever();
	}
	if (argc == 4 && !strcmp(argv[1], "lines")) {
		static char chunk[65500];
		long long left = (atoll(argv[3]) << 20) / 100 * 100; /* an incomplete line would be held back for a while */

		memset(chunk, 'x', sizeof chunk);
		for (size_t i = 99; i < sizeof chunk; i += 100)
			chunk[i] = '\n';
		sleep(1); /* the end of everybody's start */
		say(argv[2], "begin", now());
		while (left > 0) {
			ssize_t n = write(1, chunk, left < (long long)sizeof chunk ? left : (long long)sizeof chunk);

			if (n <= 0)
				return 111;
			left -= n;
		}
		say(argv[2], "end", now());
		wait_for_ever();
	}
	if (argc >= 4 && !strcmp(argv[1], "launch"))
		return launch(argv[2], argv + 3);
	fprintf(stderr, "usage: probe service|orphans|lines|launch FIFO ...\n");
	return 2;
}
