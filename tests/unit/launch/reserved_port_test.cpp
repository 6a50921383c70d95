#include "titan/launch/reserved_port.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

namespace titan::launch {
namespace {

// What a server does: 0, or errno.
int listen_on(int family, int64_t port, bool reuse) {
  const int fd = socket(family, SOCK_STREAM, 0);
  const int yes = 1;
  if (reuse) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_storage address{};
  address.ss_family = static_cast<sa_family_t>(family);
  reinterpret_cast<sockaddr_in*>(&address)->sin_port = htons(static_cast<uint16_t>(port));
  const socklen_t size = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  int error = bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 ? 0 : errno;
  if (error == 0 && listen(fd, 16) != 0) error = errno;
  close(fd);
  return error;
}

// [Note: a port without a race]
TEST(ReservedPort, IsTakenForEveryoneButAServerThatReusesIt) {
  const ReservedPort reserved;
  EXPECT_GT(reserved.port(), 0);
  EXPECT_EQ(listen_on(AF_INET, reserved.port(), /*reuse=*/false), EADDRINUSE);
  EXPECT_EQ(listen_on(AF_INET, reserved.port(), /*reuse=*/true), 0);
  EXPECT_EQ(listen_on(AF_INET6, reserved.port(), /*reuse=*/true), 0);
}

TEST(ReservedPort, IsAnotherEachTime) {
  const ReservedPort a, b;
  EXPECT_NE(a.port(), b.port());
}

}  // namespace
}  // namespace titan::launch
