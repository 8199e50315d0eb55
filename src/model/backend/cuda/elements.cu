// One thread for each element. Compiled at run time by NVRTC: no headers.
// Matrices are row-major; `unsigned` counts fit in 32 bits by the limits on models and windows, products of them may not.

__device__ float logistic(float x) { return 1.0f / (1.0f + expf(-x)); }

// out (rows, width) = the rows `ids` of table (_, width); zeros where the id is none.
extern "C" __global__ void gather_rows(
    const float *table, const unsigned *ids, float *out, unsigned rows, unsigned width) {
    size_t k = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= (size_t)rows * width) return;
    unsigned id = ids[k / width];
    out[k] = id == 0xFFFFFFFFu ? 0.0f : table[(size_t)id * width + k % width];
}

// Adds each row of values (rows, width) to the row of table that it was gathered from. The order of the sums is not fixed.
extern "C" __global__ void scatter_rows(
    float *table, const unsigned *ids, const float *values, unsigned rows, unsigned width) {
    size_t k = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= (size_t)rows * width) return;
    unsigned id = ids[k / width];
    if (id != 0xFFFFFFFFu) atomicAdd(&table[(size_t)id * width + k % width], values[k]);
}

// One step of an LSTM layer from its gates before activation, (batch, 4 hidden) in the order input, forget, candidate, output.
// They are replaced by the activated gates, which the backward step reads. Cells and outputs are (batch, hidden).
extern "C" __global__ void lstm_step(
    float *gates, const float *cell_before, float *cell, float *output, unsigned batch, unsigned hidden) {
    unsigned k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= batch * hidden) return;
    float *gate = gates + (size_t)(k / hidden) * 4 * hidden + k % hidden;
    float i = logistic(gate[0]);
    float f = logistic(gate[hidden]);
    float g = tanhf(gate[2 * hidden]);
    float o = logistic(gate[3 * hidden]);
    float c = f * cell_before[k] + i * g;
    gate[0] = i;
    gate[hidden] = f;
    gate[2 * hidden] = g;
    gate[3 * hidden] = o;
    cell[k] = c;
    output[k] = o * tanhf(c);
}

// Its gradient. The activated gates are replaced by the gradient before activation. The output's gradient is d_output from above
// plus d_carried from the next step; d_cell comes from the next step and is replaced by that of cell_before.
extern "C" __global__ void lstm_step_backward(
    float *gates, const float *cell_before, const float *cell, const float *d_output, const float *d_carried, float *d_cell,
    unsigned batch, unsigned hidden) {
    unsigned k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= batch * hidden) return;
    float *gate = gates + (size_t)(k / hidden) * 4 * hidden + k % hidden;
    float i = gate[0], f = gate[hidden], g = gate[2 * hidden], o = gate[3 * hidden];
    float dh = d_output[k] + d_carried[k];
    float squashed = tanhf(cell[k]);
    float dc = d_cell[k] + dh * o * (1.0f - squashed * squashed);
    gate[0] = dc * g * i * (1.0f - i);
    gate[hidden] = dc * cell_before[k] * f * (1.0f - f);
    gate[2 * hidden] = dc * i * (1.0f - g * g);
    gate[3 * hidden] = dh * squashed * o * (1.0f - o);
    d_cell[k] = dc * f;
}

// Adam's step along `scale` times the gradient; correction1 is 1 / (1 - beta1^t), correction2 likewise.
extern "C" __global__ void adam(
    float *parameter, float *first, float *second, const float *gradient, size_t count, float scale, float rate,
    float beta1, float beta2, float correction1, float correction2, float epsilon) {
    size_t k = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= count) return;
    float g = scale * gradient[k];
    float m = beta1 * first[k] + (1.0f - beta1) * g;
    float v = beta2 * second[k] + (1.0f - beta2) * g * g;
    first[k] = m;
    second[k] = v;
    parameter[k] -= rate * (m * correction1) / (sqrtf(v * correction2) + epsilon);
}
