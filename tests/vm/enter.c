/*
 * enter CMD...: runs CMD as PID 1 of PID, mount and cgroup namespaces of its
 * own, as a container's runtime does; the root of its cgroups is the cgroup
 * that it is started in. Ends with CMD's code, 128+n for signal n; TERM and INT
 * are passed on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t child;

static void pass(int sig)
{
	kill(child, sig);
}

static int fail(const char *what)
{
	perror(what);
	return 125;
}

int main(int argc, char **argv)
{
	int status, out[2];
	FILE *procs;
	char byte;

	if (argc < 2 || pipe(out))
		return 125;
	if (unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWCGROUP))
		return fail("enter: unshare");
	if ((child = fork()) < 0)
		return fail("enter: fork");
	if (child == 0) {
		close(out[1]);
		(void)!read(out[0], &byte, 1); /* until we are alone in the cgroup, as in a container */
		close(out[0]);
		if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("proc", "/proc", "proc", 0, NULL) ||
		    umount2("/sys/fs/cgroup", MNT_DETACH) || /* the same is refused above itself */
		    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", getenv("READ_ONLY") ? MS_RDONLY : 0, NULL))
			return fail("enter: mount");
		execvp(argv[1], argv + 1);
		return fail("enter: exec");
	}
	if (!(procs = fopen("/sys/fs/cgroup/cgroup.procs", "w")) || fputs("0", procs) < 0 || fclose(procs))
		perror("enter: leave the cgroup");
	close(out[1]);
	signal(SIGTERM, pass);
	signal(SIGINT, pass);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return fail("enter: wait");
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
