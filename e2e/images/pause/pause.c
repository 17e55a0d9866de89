/* Holds a Pod's namespaces: waits for the end, and collects orphans when it is the first process of
 * a PID namespace that containers share. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void leave(int signal) {
    (void)signal;
    _exit(0);
}

static void reap(int signal) {
    (void)signal;
    while (waitpid(-1, 0, WNOHANG) > 0) {
    }
}

int main(void) {
    struct sigaction end = {.sa_handler = leave};
    struct sigaction child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
    if (sigaction(SIGINT, &end, 0) < 0 || sigaction(SIGTERM, &end, 0) < 0 || sigaction(SIGCHLD, &child, 0) < 0)
        return 1;
    for (;;)
        pause();
}
