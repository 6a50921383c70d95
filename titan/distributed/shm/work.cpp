#include "titan/distributed/shm/work.h"

#include <ATen/core/ivalue.h>

#include <algorithm>

namespace titan::distributed::shm {

ShmWork::ShmWork(c10d::OpType type, std::shared_ptr<Engine> engine, std::vector<std::shared_ptr<Operation>> operations,
                 std::vector<at::Tensor> results)
    : Work(-1, type), engine_(std::move(engine)), operations_(std::move(operations)), results_(std::move(results)) {}

bool ShmWork::isCompleted() {
  return std::all_of(operations_.begin(), operations_.end(),
                     [this](const auto& operation) { return engine_->poll(*operation); });
}

bool ShmWork::isSuccess() const {
  return std::all_of(operations_.begin(), operations_.end(),
                     [](const auto& operation) { return operation->over && !operation->error; });
}

std::exception_ptr ShmWork::exception() const {
  for (const auto& operation : operations_) {
    if (operation->over && operation->error) return operation->error;
  }
  return nullptr;
}

bool ShmWork::wait(std::chrono::milliseconds timeout) {
  for (const auto& operation : operations_) {
    if (timeout != kNoTimeout) engine_->hurry(*operation, timeout);
    engine_->wait(*operation);
  }
  return true;
}

c10::intrusive_ptr<c10::ivalue::Future> ShmWork::getFuture() {
  auto future = c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()));
  if (operations_.empty()) {
    future->markCompleted(at::IValue(results_));
    return future;
  }
  // Of several the last is over last: they are in one queue.
  Operation& last = *operations_.back();
  engine_->when_over(last, [future, &last, results = results_] {
    if (last.error) {
      future->setError(last.error);
    } else {
      future->markCompleted(at::IValue(results));
    }
  });
  return future;
}

}  // namespace titan::distributed::shm
