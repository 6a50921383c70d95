#include "titan/distributed/host_address.h"

#include <arpa/inet.h>
#include <c10/util/Exception.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <thread>

namespace titan::distributed {
namespace {

using Clock = std::chrono::steady_clock;
using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

// Null, and `error` as getaddrinfo gives it, if there is none.
Addresses resolve(const std::string& host, int64_t port, int& error) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  return {error == 0 ? found : nullptr, &freeaddrinfo};
}

class Socket {
 public:
  Socket(int family, int type) : fd_(socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

// 0, or the errno for which the connection was not made.
int connect_once(const addrinfo& address, std::chrono::milliseconds patience) {
  const Socket socket(address.ai_family, SOCK_STREAM);
  if (socket.fd() < 0) return errno;
  if (connect(socket.fd(), address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd waiting{socket.fd(), POLLOUT, 0};
  if (poll(&waiting, 1, static_cast<int>(std::max<int64_t>(patience.count(), 0))) <= 0) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

}  // namespace

void check_host(const std::string& host) {
  constexpr int kTries = 3;
  int error = 0;
  for (int i = 0; i < kTries; ++i) {
    if (i > 0) std::this_thread::sleep_for(std::chrono::seconds(1));
    if (resolve(host, 1, error) != nullptr) return;
    if (error != EAI_AGAIN) break;
  }
  TORCH_CHECK_VALUE(false, "MASTER_ADDR: expected the name or address of rank 0's host, got '", host,
                    "', which cannot be resolved (", gai_strerror(error), ")");
}

bool can_connect(const std::string& host, int64_t port, bool retry, Clock::time_point deadline, std::string& why) {
  constexpr std::chrono::milliseconds kBetweenTries{200};
  while (true) {
    int error = 0;
    const Addresses addresses = resolve(host, port, error);
    if (addresses == nullptr) why = gai_strerror(error);
    for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
      const int failure = connect_once(*address, left);
      if (failure == 0) return true;
      why = std::strerror(failure);
    }
    if (!retry || Clock::now() + kBetweenTries > deadline) return false;
    std::this_thread::sleep_for(kBetweenTries);
  }
}

std::string local_address_towards(const std::string& host) {
  int error = 0;
  const Addresses addresses = resolve(host, 1, error);
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    // Connecting a datagram socket only looks up the route.
    const Socket socket(address->ai_family, SOCK_DGRAM);
    if (socket.fd() < 0 || connect(socket.fd(), address->ai_addr, address->ai_addrlen) != 0) continue;
    sockaddr_storage own{};
    socklen_t size = sizeof(own);
    if (getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&own), &size) != 0) continue;
    char text[NI_MAXHOST] = {};
    if (getnameinfo(reinterpret_cast<sockaddr*>(&own), size, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) == 0) {
      return text;
    }
  }
  return "";
}

bool is_loopback(const std::string& address) {
  return address == "localhost" || address == "::1" || address.rfind("127.", 0) == 0;
}

std::string network_identity() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  char name_space[64] = {};
  if (readlink("/proc/self/ns/net", name_space, sizeof(name_space) - 1) < 0) name_space[0] = '\0';
  char host[256] = {};
  if (boot.empty()) gethostname(host, sizeof(host) - 1);
  return boot + host + name_space;
}

}  // namespace titan::distributed
