#include "titan/launch/reserved_port.h"

#include <arpa/inet.h>
#include <c10/util/Exception.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace titan::launch {
namespace {

// A socket bound to a port of the system's choice on every address of `family`; -1 if that cannot be.
int bind_any(int family) {
  const int socket_fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket_fd < 0) return -1;
  const int yes = 1, no = 0;
  setsockopt(socket_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_storage address{};  // all zeros: any address, any port
  address.ss_family = static_cast<sa_family_t>(family);
  if (family == AF_INET6) setsockopt(socket_fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
  const socklen_t size = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  if (bind(socket_fd, reinterpret_cast<const sockaddr*>(&address), size) == 0) return socket_fd;
  const int error = errno;
  close(socket_fd);
  errno = error;
  return -1;
}

}  // namespace

ReservedPort::ReservedPort() {
  socket_ = bind_any(AF_INET6);
  if (socket_ < 0) socket_ = bind_any(AF_INET);  // a machine without IPv6
  TORCH_CHECK(socket_ >= 0, "no free TCP port for the ranks to meet at: ", std::strerror(errno));
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
  // The port is at the same place in both families' addresses.
  port_ = ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

ReservedPort::~ReservedPort() { close(socket_); }

}  // namespace titan::launch
