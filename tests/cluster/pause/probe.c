/* probe ADDRESS:PORT...: prints those to which a TCP connection can be made within a second, one a line. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int opens(const char *address, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, address, &to.sin_addr) != 1) exit(64);
    int socket_ = socket(AF_INET, SOCK_STREAM, 0), error = 0;
    socklen_t size = sizeof error;
    fcntl(socket_, F_SETFL, O_NONBLOCK);
    int begun = connect(socket_, (struct sockaddr *)&to, sizeof to);
    struct pollfd done = {.fd = socket_, .events = POLLOUT};
    if (begun != 0 && errno == EINPROGRESS && poll(&done, 1, 1000) == 1
        && getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0)
        begun = 0;
    close(socket_);
    return begun == 0;
}

/* Whatever guards a pod learns of it a moment after it has begun: the last answer counts. */
int main(int count, char **arguments) {
    int open[64] = {0};
    if (count > 64) return 64;
    for (time_t end = time(NULL) + 4; time(NULL) < end; usleep(100000)) {
        for (int n = 1; n < count; n++) {
            char address[64] = "";
            char *colon = strchr(arguments[n], ':');
            if (!colon || colon - arguments[n] >= 64) return 64;
            memcpy(address, arguments[n], colon - arguments[n]);
            open[n] = opens(address, atoi(colon + 1));
        }
    }
    for (int n = 1; n < count; n++) {
        if (open[n]) puts(arguments[n]);
    }
    return 0;
}
