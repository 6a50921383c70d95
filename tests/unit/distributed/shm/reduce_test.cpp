#include "titan/distributed/shm/reduce.h"

#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/support/tensors.h"

namespace titan::distributed::shm {
namespace {

using Tensors = std::vector<at::Tensor>;

at::Tensor reduced(ReduceOp op, const Tensors& inputs, const at::Tensor& output) {
  std::vector<const std::byte*> addresses;
  for (const at::Tensor& input : inputs) addresses.push_back(static_cast<const std::byte*>(input.const_data_ptr()));
  Reducer(op, output.scalar_type())(static_cast<std::byte*>(output.data_ptr()), addresses,
                                    static_cast<int64_t>(output.nbytes()));
  return output;
}

at::Tensor reduced(ReduceOp op, const Tensors& inputs) { return reduced(op, inputs, at::zeros_like(inputs.front())); }

constexpr at::ScalarType kNumbers[] = {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kLong,
                                       at::kInt,   at::kShort,  at::kChar, at::kByte};

// 1 to 5 ranks; sizes around those of a vector and of a block.
TEST(Reduce, AgreesWithAtenInEveryDtype) {
  for (const at::ScalarType dtype : kNumbers) {
    for (const int64_t numel : {0, 1, 7, 1024, 2051}) {
      Tensors inputs;
      for (int64_t rank = 0; rank < 5; ++rank) {
        inputs.push_back(at::randint(0, 20, {numel}, at::make_generator<at::CPUGeneratorImpl>(rank)).to(dtype));
        const at::Tensor stack = at::stack(inputs);
        EXPECT_TRUE(at::equal(reduced(ReduceOp::kSum, inputs), stack.sum(0).to(dtype))) << dtype << numel;
        EXPECT_TRUE(at::equal(reduced(ReduceOp::kMax, inputs), stack.amax(0))) << dtype << numel;
        EXPECT_TRUE(at::equal(reduced(ReduceOp::kMin, inputs), stack.amin(0))) << dtype << numel;
      }
    }
  }
}

TEST(Reduce, AddsInTheOrderOfRanks) {
  Tensors inputs;
  for (uint64_t rank = 0; rank < 4; ++rank) inputs.push_back(test::random({1031}, rank));
  const at::Tensor in_order = ((inputs[0] + inputs[1]) + inputs[2]) + inputs[3];
  EXPECT_TRUE(at::equal(reduced(ReduceOp::kSum, inputs), in_order));
  EXPECT_FALSE(at::equal(in_order, ((inputs[3] + inputs[2]) + inputs[1]) + inputs[0])) << "these must show an order";
}

TEST(Reduce, RoundsHalfPrecisionOnce) {
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16}) {
    Tensors inputs;
    at::Tensor exact = at::zeros({513});
    for (uint64_t rank = 0; rank < 6; ++rank) {
      inputs.push_back(test::random({513}, rank).to(dtype));
      exact = exact + inputs.back().to(at::kFloat);
    }
    EXPECT_TRUE(at::equal(reduced(ReduceOp::kSum, inputs), exact.to(dtype))) << dtype;
  }
}

TEST(Reduce, MayOverwriteAnyOfItsInputs) {
  for (size_t overwritten = 0; overwritten < 3; ++overwritten) {
    const Tensors inputs{test::random({3000}, 1), test::random({3000}, 2), test::random({3000}, 3)};
    const at::Tensor expected = reduced(ReduceOp::kSum, inputs);
    EXPECT_TRUE(at::equal(reduced(ReduceOp::kSum, inputs, inputs[overwritten]), expected));
  }
}

TEST(Reduce, LetsNoNanGoUnseen) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16}) {
    const at::Tensor ones = at::ones({3}, dtype), nans = at::full({3}, nan, dtype);
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
      EXPECT_TRUE(reduced(op, {ones, nans, ones}).isnan().all().item<bool>()) << dtype;
      EXPECT_TRUE(reduced(op, {nans, ones, ones}).isnan().all().item<bool>()) << dtype;
    }
  }
}

TEST(Reduce, OfBoolsIsAnyOrAllAndOfComplexNumbersASum) {
  const at::Tensor yes = at::ones({5}, at::kBool), no = at::zeros({5}, at::kBool);
  EXPECT_TRUE(at::equal(reduced(ReduceOp::kMax, {no, yes}), yes));
  EXPECT_TRUE(at::equal(reduced(ReduceOp::kMin, {no, yes}), no));
  const at::Tensor x = at::full({5}, c10::complex<double>(1, 2), at::kComplexFloat);
  EXPECT_TRUE(at::equal(reduced(ReduceOp::kSum, {x, x}), x + x));
}

TEST(Reduce, RefusesWhatHasNoReduction) {
  EXPECT_THROW(Reducer(ReduceOp::kSum, at::kBool), c10::ValueError);
  EXPECT_THROW(Reducer(ReduceOp::kMax, at::kComplexFloat), c10::ValueError);
  EXPECT_THROW(Reducer(ReduceOp::kAvg, at::kFloat), c10::ValueError);
  EXPECT_THROW(Reducer(ReduceOp::kSum, at::kFloat8_e4m3fn), c10::ValueError);
}

}  // namespace
}  // namespace titan::distributed::shm
