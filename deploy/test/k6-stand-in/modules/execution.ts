import { id } from './say.ts';

export default { vu: { idInTest: id } };
