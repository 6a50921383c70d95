// What c10d sees of operations under way.
#pragma once

#include <memory>
#include <torch/csrc/distributed/c10d/Work.hpp>
#include <vector>

#include "titan/distributed/shm/engine.h"

namespace titan::distributed::shm {

// One or several operations of one engine, which it keeps alive.
class ShmWork : public c10d::Work {
 public:
  ShmWork(c10d::OpType type, std::shared_ptr<Engine> engine, std::vector<std::shared_ptr<Operation>> operations,
          std::vector<at::Tensor> results);

  bool isCompleted() override;
  bool isSuccess() const override;
  std::exception_ptr exception() const override;
  bool wait(std::chrono::milliseconds timeout) override;
  std::vector<at::Tensor> result() override { return results_; }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override;

 private:
  std::shared_ptr<Engine> engine_;
  std::vector<std::shared_ptr<Operation>> operations_;
  std::vector<at::Tensor> results_;
};

}  // namespace titan::distributed::shm
