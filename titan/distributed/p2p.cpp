#include "titan/distributed/p2p.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "titan/distributed/backend_calls.h"
#include "titan/distributed/in_flight.h"

namespace titan::distributed {
namespace {

void check(const Message& message, const ProcessGroup& group) {
  TORCH_CHECK_VALUE(message.peer >= 0 && message.peer < group.size() && message.peer != group.rank(),
                    "exchange: expected a peer from 0 to ", group.size() - 1, " other than this rank (", group.rank(),
                    "), got ", message.peer);
  TORCH_CHECK_VALUE(message.tensor.defined(), "exchange: expected a tensor, got none");
}

}  // namespace

PendingTensors exchange(std::vector<Message> messages, ProcessGroup& group) {
  for (const Message& message : messages) check(message, group);
  if (messages.empty()) return PendingTensors(std::vector<at::Tensor>{});
  const at::NoGradGuard no_grad;

  // Every message has a tag: Gloo matches those of one tag in any order.
  auto operation = std::make_unique<InFlight>("exchange", messages.front().tensor, group, &messages);
  std::vector<at::Tensor> buffers;
  // NCCL runs what is not told to be one after another, so two ranks that both send first would wait for each other.
  c10d::Backend* const backend = group.backend(messages.front().tensor.device());
  const bool as_one = backend->supportsCoalescing();
  if (as_one) backend->startCoalescing();
  for (const Message& message : messages) {
    const at::Tensor tensor = message.tensor.detach();
    const auto peer = static_cast<int>(message.peer);
    const bool sends = message.direction == Message::Direction::kSend;
    buffers.push_back(tensor.is_contiguous() ? tensor
                      : sends                ? tensor.contiguous()
                                             : at::empty(tensor.sizes(), tensor.options()));
    if (tensor.numel() == 0 || operation->is_left_out()) continue;
    const int tag = sends ? group.next_send(message.peer) : group.next_receive(message.peer);
    std::vector<at::Tensor> bytes{bytes_of(buffers.back())};
    operation->start(message, tag, [&] {
      auto work = sends ? backend->send(bytes, peer, tag) : backend->recv(bytes, peer, tag);
      return as_one ? nullptr : work;  // as one, they are waited for as one
    });
  }
  if (as_one) operation->end_as_one([&] { return backend->endCoalescing(); });
  operation->on_arrival = [messages = std::move(messages), buffers] {
    std::vector<at::Tensor> results;
    for (size_t i = 0; i < messages.size(); ++i) {
      const at::Tensor& tensor = messages[i].tensor;
      if (messages[i].direction == Message::Direction::kReceive && !tensor.is_contiguous()) tensor.copy_(buffers[i]);
      results.push_back(tensor);
    }
    return results;
  };
  return PendingTensors(std::move(operation));
}

Message send(at::Tensor tensor, int64_t peer) { return {Message::Direction::kSend, std::move(tensor), peer}; }

Message receive(at::Tensor tensor, int64_t peer) { return {Message::Direction::kReceive, std::move(tensor), peer}; }

}  // namespace titan::distributed
