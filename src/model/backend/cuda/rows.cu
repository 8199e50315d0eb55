// One block of THREADS threads for each row, which work together. Compiled at run time by NVRTC: no headers.
// All sums are taken in an order that depends on sizes alone.

#define THREADS 256

// The largest value of all threads of the block.
__device__ float block_max(float value, float *shared) {
    shared[threadIdx.x] = value;
    __syncthreads();
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[threadIdx.x] = fmaxf(shared[threadIdx.x], shared[threadIdx.x + half]);
        __syncthreads();
    }
    float largest = shared[0];
    __syncthreads();
    return largest;
}

// The sum over all threads of the block.
__device__ float block_sum(float value, float *shared) {
    shared[threadIdx.x] = value;
    __syncthreads();
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
        __syncthreads();
    }
    float sum = shared[0];
    __syncthreads();
    return sum;
}

// The negative log-likelihood of each row's target under the softmax of logits (rows, columns) + bias. Unless `scale` is 0, the logits
// are replaced by the gradient of `scale` times that.
extern "C" __global__ void softmax_rows(
    float *logits, const float *bias, const unsigned *targets, float *nll, unsigned columns, float scale) {
    __shared__ float shared[THREADS];
    float *row = logits + (size_t)blockIdx.x * columns;
    float largest = -3.402823466e38f;
    for (unsigned v = threadIdx.x; v < columns; v += THREADS) largest = fmaxf(largest, row[v] + bias[v]);
    largest = block_max(largest, shared);
    float sum = 0.0f;
    for (unsigned v = threadIdx.x; v < columns; v += THREADS) sum += expf(row[v] + bias[v] - largest);
    sum = block_sum(sum, shared);
    unsigned target = targets[blockIdx.x];
    if (threadIdx.x == 0) nll[blockIdx.x] = logf(sum) + largest - row[target] - bias[target];
    if (scale == 0.0f) return;
    __syncthreads(); // The target's logit has been read.
    for (unsigned v = threadIdx.x; v < columns; v += THREADS)
        row[v] = scale * (expf(row[v] + bias[v] - largest) / sum - (v == target ? 1.0f : 0.0f));
}

// partial[b] = the sum of the squares of the values that block b reads.
extern "C" __global__ void sum_of_squares(const float *values, size_t count, float *partial) {
    __shared__ float shared[THREADS];
    float sum = 0.0f;
    for (size_t k = (size_t)blockIdx.x * THREADS + threadIdx.x; k < count; k += (size_t)gridDim.x * THREADS)
        sum += values[k] * values[k];
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// out[0] = `scale` times the sum of all values; for one block.
extern "C" __global__ void scaled_sum(const float *values, size_t count, float scale, float *out) {
    __shared__ float shared[THREADS];
    float sum = 0.0f;
    for (size_t k = threadIdx.x; k < count; k += THREADS) sum += values[k];
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) out[0] = scale * sum;
}
